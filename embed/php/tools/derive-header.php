<?php

/**
 * Makes src/workhive.h, the declarations that PHP's FFI reads, from the C header.
 *
 *     php tools/derive-header.php [../include/workhive.h] > src/workhive.h
 *
 * PHP's FFI has no preprocessor, and some C types are dear or impossible to cross with. So:
 *
 * - comments, directives and the numbers behind names (#define, enum) go: src/Workhive/Abi.php has the numbers;
 * - `user` is a number (`void *` would become an object for every call);
 * - what the library lends is a number too: `wh_request *`, `wh_opening *`, `sink`;
 * - bytes that PHP hands over are `const char *`, which takes a PHP string as it is; those that callbacks get stay
 *   `const uint8_t *`, since FFI reads a `const char *` up to its first NUL.
 */

declare(strict_types=1);

require_once __DIR__ . '/Header.php';

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    $path = $argv[1] ?? __DIR__ . '/../../include/workhive.h';
    $text = @file_get_contents($path);
    if ($text === false) {
        fwrite(STDERR, "derive-header: cannot read $path\n");
        exit(1);
    }
    echo Workhive\Tools\Header::derive($text);
}
