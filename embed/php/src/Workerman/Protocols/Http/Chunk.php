<?php

declare(strict_types=1);

namespace Workerman\Protocols\Http;

use Stringable;

/** A piece of a chunked response; an empty one ends it. */
class Chunk implements Stringable
{
    public function __construct(protected string $buffer)
    {
    }

    /** The piece itself: the library writes its length and the line ends. */
    public function __toString(): string
    {
        return $this->buffer;
    }
}
