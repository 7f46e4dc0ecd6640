<?php

declare(strict_types=1);

namespace Workhive;

/**
 * The uploaded files of a request: they go with it.
 *
 * @internal
 */
final class TemporaryFiles
{
    /** @param array $files in the shape of $_FILES */
    public function __construct(private array $files)
    {
    }

    public function __destruct()
    {
        array_walk_recursive($this->files, static function (mixed $value, string|int $key): void {
            if ($key === 'tmp_name' && is_file($value)) {
                unlink($value);
            }
        });
    }
}
