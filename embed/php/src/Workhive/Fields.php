<?php

declare(strict_types=1);

namespace Workhive;

use InvalidArgumentException;

/**
 * Header fields on their way out.
 *
 * @internal
 */
final class Fields
{
    /** What the library says by itself. */
    private const OF_THE_LIBRARY = ['content-length' => true, 'connection' => true, 'date' => true, 'transfer-encoding' => true, 'keep-alive' => true];

    /**
     * The lines of a response. Whoever could put a line break into a field could write fields, and whole responses, of his
     * own: such a field is refused.
     *
     * @param array<string, string|list<string>> $headers
     */
    public static function lines(array $headers): string
    {
        $lines = '';
        $hasType = false;
        foreach ($headers as $name => $values) {
            $name = (string) $name;
            $lower = strtolower($name);
            foreach (is_array($values) ? $values : [$values] as $value) {
                $value = (string) $value;
                self::refuse($name, $value);
                if (!isset(self::OF_THE_LIBRARY[$lower])) {
                    $lines .= "$name: $value\n";
                }
            }
            $hasType = $hasType || $lower === 'content-type';
        }
        return $hasType ? $lines : $lines . "Content-Type: text/html;charset=utf-8\n";
    }

    /** Throws if these cannot be a field. */
    public static function refuse(string $name, string $value): void
    {
        if (preg_match('/^[!#$%&\'*+.^_`|~0-9A-Za-z-]+\z/', $name) !== 1) {
            throw new InvalidArgumentException('a header field cannot be named ' . json_encode($name, JSON_INVALID_UTF8_SUBSTITUTE) . ': only letters, digits and -_.!#$%&\'*+^`|~ are allowed');
        }
        if (strpbrk($value, "\r\n\0") !== false) {
            throw new InvalidArgumentException("the header field $name has a line break or a NUL in its value " . json_encode($value, JSON_INVALID_UTF8_SUBSTITUTE) . ': remove it, or encode the value');
        }
    }
}
