<?php

declare(strict_types=1);

namespace Workhive;

use RuntimeException;

/** What the library says when it refuses: its text, and its code by number (`getCode()`) and by name. */
final class Error extends RuntimeException
{
    /** The name of the code in the C header, such as `WH_ERR_IN_USE`. */
    public readonly string $name;

    public function __construct(string $text, int $code, string $name = 'unknown')
    {
        parent::__construct($text, $code);
        $this->name = $name;
    }
}
