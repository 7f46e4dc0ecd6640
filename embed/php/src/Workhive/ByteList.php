<?php

declare(strict_types=1);

namespace Workhive;

use FFI;
use FFI\CData;

/**
 * Several strings for the library, which copies them during the call.
 *
 * @internal
 */
final class ByteList
{
    public readonly CData $list;
    public readonly int $count;

    /** @var list<CData> the memory that the list points into */
    private array $held = [];

    /** @param list<string> $strings */
    public function __construct(array $strings)
    {
        $this->count = count($strings);
        $this->list = Library::$ffi->new('wh_bytes[' . max(1, $this->count) . ']');
        foreach (array_values($strings) as $i => $string) {
            $bytes = Library::$ffi->new('uint8_t[' . max(1, strlen($string)) . ']');
            FFI::memcpy($bytes, $string, strlen($string));
            $this->held[] = $bytes;
            $this->list[$i]->data = Library::$ffi->cast('uint8_t *', $bytes);
            $this->list[$i]->len = strlen($string);
        }
    }
}
