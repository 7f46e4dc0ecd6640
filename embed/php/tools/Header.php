<?php

declare(strict_types=1);

namespace Workhive\Tools;

/** The C header as text: what PHP's FFI can read of it, and the numbers in it. */
final class Header
{
    /** The declarations for FFI::cdef, one a line. */
    public static function derive(string $header): string
    {
        $lines = ["/* Made from embed/include/workhive.h by embed/php/tools/derive-header.php: change that one. */"];
        foreach (self::declarations($header) as $declaration) {
            if (preg_match('/^enum\b/', $declaration) || self::isLent($declaration)) {
                continue;
            }
            $lines[] = self::forPhp($declaration);
        }
        return implode("\n", $lines) . "\n";
    }

    /**
     * Every number that has a name, from `#define WH_X 1` and from enums.
     *
     * @return array<string, int>
     */
    public static function numbers(string $header): array
    {
        $header = self::withoutComments($header);
        $numbers = [];
        preg_match_all('/^\s*#\s*define\s+(WH_[A-Z0-9_]+)\s+\(?(-?\d+)\)?[uUlL]*\s*$/m', $header, $defines, PREG_SET_ORDER);
        foreach ($defines as [, $name, $number]) {
            $numbers[$name] = (int) $number;
        }
        preg_match_all('/\benum\b[^{;]*\{([^}]*)\}/', $header, $enums);
        foreach ($enums[1] as $body) {
            $next = 0;
            foreach (array_filter(array_map(trim(...), explode(',', $body))) as $member) {
                [$name, $number] = array_map(trim(...), explode('=', $member)) + [1 => (string) $next];
                $numbers[$name] = (int) $number;
                $next = $numbers[$name] + 1;
            }
        }
        return $numbers;
    }

    /** @return list<string> declarations with single blanks, without the semicolon at their end */
    private static function declarations(string $header): array
    {
        $header = self::withoutComments($header);
        $header = preg_replace('/\\\\\n/', ' ', $header);
        $header = preg_replace('/^\s*#.*$/m', '', $header);
        // What C++ needs around it all, in the lines that the directives have left.
        $header = preg_replace('/extern\s+"C"\s*\{/', '', $header);
        $header = preg_replace('/^\s*\}[^;\w]*\z|^\s*\}\s*$(?!.*;)/ms', '', $header);
        $declarations = [];
        $depth = 0;
        $current = '';
        foreach (preg_split('/([{};])/', $header, -1, PREG_SPLIT_DELIM_CAPTURE) as $piece) {
            $depth += ($piece === '{') <=> ($piece === '}');
            if ($piece === ';' && $depth === 0) {
                $declaration = trim(preg_replace('/\s+/', ' ', $current));
                if ($declaration !== '') {
                    $declarations[] = $declaration;
                }
                $current = '';
            } else {
                $current .= $piece;
            }
        }
        return $declarations;
    }

    private static function withoutComments(string $header): string
    {
        return preg_replace(['#/\*.*?\*/#s', '#//[^\n]*#'], ' ', $header);
    }

    /** Types of which PHP only ever sees a number. */
    private static function isLent(string $declaration): bool
    {
        return (bool) preg_match('/^(typedef )?struct (wh_request|wh_opening)( wh_request| wh_opening)?$/', $declaration);
    }

    private static function forPhp(string $declaration): string
    {
        $declaration = preg_replace('/\b(const )?(struct )?wh_(request|opening) ?\* ?(\w+)/', 'size_t $4', $declaration);
        $declaration = preg_replace('/\bvoid ?\* ?(user|sink)\b/', 'size_t $1', $declaration);
        if (!str_starts_with($declaration, 'typedef')) {
            $declaration = preg_replace('/\bconst uint8_t ?\* ?/', 'const char *', $declaration);
        } elseif (str_contains($declaration, '(*')) {
            $declaration = preg_replace('/\bconst char ?\* ?/', 'const uint8_t *', $declaration);
        }
        $declaration = preg_replace('/ ?\* ?(?=\w)/', ' *', $declaration);
        $declaration = preg_replace(['/ (?=[,(])/', '/\* (?=\*)/'], ['', '*'], $declaration);
        return str_replace('( *', '(*', preg_replace('/^typedef (\w+) ?\( ?/', 'typedef $1 (', $declaration)) . ';';
    }
}
