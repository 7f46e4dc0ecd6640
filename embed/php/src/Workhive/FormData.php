<?php

declare(strict_types=1);

namespace Workhive;

/**
 * Bodies of the type `multipart/form-data`, into what PHP programs know as $_POST and $_FILES.
 *
 * @internal
 */
final class FormData
{
    /** @return array{array, array} values and files */
    public static function parse(string $body, string $boundary, int $maxParts): array
    {
        $values = $files = [];
        $parts = explode("\r\n--$boundary", "\r\n$body");
        // What is in front of the first boundary is no part.
        foreach (array_slice($parts, 1, $maxParts) as $part) {
            if (str_starts_with($part, '--')) {
                break;
            }
            // A boundary is followed by a line end, which may have blanks in front of it.
            [$head, $data] = explode("\r\n\r\n", ltrim($part, " \t"), 2) + [1 => null];
            if ($data === null) {
                continue;
            }
            $fields = self::fields($head);
            $disposition = $fields['content-disposition'] ?? '';
            $name = self::parameter($disposition, 'name');
            if ($name === null) {
                continue;
            }
            $file = self::parameter($disposition, 'filename');
            if ($file === null) {
                self::put($values, $name, $data);
            } else {
                self::put($files, $name, self::file($file, $data, $fields['content-type'] ?? ''));
            }
        }
        return [$values, $files];
    }

    /** @return array<string, string> */
    private static function fields(string $head): array
    {
        $fields = [];
        foreach (explode("\r\n", trim($head)) as $line) {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $fields[strtolower(trim($name))] = trim($value);
        }
        return $fields;
    }

    private static function parameter(string $field, string $name): ?string
    {
        if (preg_match('/;\s*' . $name . '="((?:[^"\\\\]|\\\\.)*)"/i', $field, $match) === 1) {
            // Browsers write a quote as %22, others with a backslash in front of it.
            return str_replace(['\\"', '%22'], '"', $match[1]);
        }
        return preg_match('/;\s*' . $name . '=([^\s;"]+)/i', $field, $match) === 1 ? $match[1] : null;
    }

    private static function file(string $name, string $data, string $type): array
    {
        $path = '';
        $error = $name === '' ? UPLOAD_ERR_NO_FILE : UPLOAD_ERR_OK;
        if ($error === UPLOAD_ERR_OK) {
            $path = tempnam(sys_get_temp_dir(), 'workhive.upload.');
            if ($path === false || file_put_contents($path, $data) !== strlen($data)) {
                [$path, $error] = [(string) $path, UPLOAD_ERR_CANT_WRITE];
            }
        }
        return ['name' => $name, 'tmp_name' => $path, 'size' => strlen($data), 'error' => $error, 'type' => $type];
    }

    /** Puts a value where its name says: `a`, `a[]`, `a[b][c]`. */
    private static function put(array &$into, string $name, mixed $value): void
    {
        if (preg_match('/^([^\[]+)((?:\[[^\[\]]*\])*)$/', $name, $match) !== 1) {
            // Brackets that do not match are part of the name.
            $into[$name] = $value;
            return;
        }
        $place = &$into[$match[1]];
        preg_match_all('/\[([^\[\]]*)\]/', $match[2], $keys);
        foreach ($keys[1] as $key) {
            if (!is_array($place)) {
                $place = [];
            }
            if ($key === '') {
                $place[] = null;
                $key = array_key_last($place);
            }
            $place = &$place[$key];
        }
        $place = $value;
    }
}
