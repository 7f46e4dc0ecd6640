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
    /** Flags of what a response asks for beside its fields. */
    public const IS_STREAM = 1;
    public const WANTS_CLOSE = 2;

    private const HTML = "Content-Type: text/html;charset=utf-8\n";

    /** Names that were looked at before: whether they are special. So many of them at most. */
    private const MAX_KNOWN = 512;

    private const PLAIN = 0;
    private const TYPE = 1;
    private const OF_THE_LIBRARY = 2;

    private const SPECIAL = [
        'content-type' => self::TYPE,
        'content-length' => self::OF_THE_LIBRARY,
        'connection' => self::OF_THE_LIBRARY,
        'date' => self::OF_THE_LIBRARY,
        'transfer-encoding' => self::OF_THE_LIBRARY,
        'keep-alive' => self::OF_THE_LIBRARY,
    ];

    /** @var array<string, int> */
    private static array $known = [];

    /** The fields of the last response that asked for nothing beside them, and their lines. */
    private static array $last = [];
    private static string $lastLines = '';

    /**
     * The lines of a response, and what it asks for beside them. Whoever could put a line break into a field could write fields, and
     * whole responses, of his own: such a field is refused.
     *
     * @param array<string, string|list<string>> $headers
     */
    public static function lines(array $headers, int &$flags = 0): string
    {
        if ($headers === []) {
            return self::HTML;
        }
        // Most programs say the same every time; for an array written out in the program this compares two addresses.
        if ($headers === self::$last) {
            return self::$lastLines;
        }
        $lines = '';
        $hasType = false;
        $isText = true;
        foreach ($headers as $name => $values) {
            $isText = $isText && is_string($values);
            $special = self::$known[$name] ?? self::know((string) $name);
            foreach (is_array($values) ? $values : [$values] as $value) {
                $value = (string) $value;
                if (strpbrk($value, "\r\n\0") !== false) {
                    self::refuse((string) $name, $value);
                }
                if ($special !== self::PLAIN) {
                    $hasType = $hasType || $special === self::TYPE;
                    $flags |= self::asked($special, (string) $name, $value);
                }
                if ($special !== self::OF_THE_LIBRARY) {
                    $lines .= "$name: $value\n";
                }
            }
        }
        if (!$hasType) {
            $lines .= self::HTML;
        }
        if ($flags === 0 && $isText) {
            self::$last = $headers;
            self::$lastLines = $lines;
        }
        return $lines;
    }

    private static function asked(int $special, string $name, string $value): int
    {
        if ($special === self::TYPE) {
            return stripos($value, 'text/event-stream') === 0 ? self::IS_STREAM : 0;
        }
        return match (strtolower("$name: $value")) {
            'transfer-encoding: chunked' => self::IS_STREAM,
            'connection: close' => self::WANTS_CLOSE,
            default => 0,
        };
    }

    private static function know(string $name): int
    {
        self::refuse($name, '');
        $special = self::SPECIAL[strtolower($name)] ?? self::PLAIN;
        if (count(self::$known) < self::MAX_KNOWN) {
            self::$known[$name] = $special;
        }
        return $special;
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
