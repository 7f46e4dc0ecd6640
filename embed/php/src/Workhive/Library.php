<?php

declare(strict_types=1);

namespace Workhive;

use FFI;
use FFI\CData;
use RuntimeException;

/**
 * The shared library, and the places where it puts its results.
 *
 * @internal
 */
final class Library
{
    /** Read directly by whoever calls it: a method in between would cost as much as the call. */
    public static FFI $ffi;

    /** Where results go. Each is read right after the call that wrote it, and before any other. */
    public static CData $handle;
    public static CData $number;
    public static CData $flag;
    public static CData $code;
    public static CData $bytes;
    public static CData $bytesAddress;

    private const FILE = 'libworkhive.so.1';

    /** Loads the library once; every way into it begins here. */
    public static function load(): void
    {
        if (isset(self::$ffi)) {
            return;
        }
        if (!extension_loaded('ffi')) {
            throw new RuntimeException('workhive needs the extension ffi, which is not loaded: enable extension=ffi in php.ini');
        }
        $path = self::path();
        try {
            $ffi = FFI::cdef(self::declarations(), $path);
        } catch (FFI\Exception $error) {
            throw new RuntimeException(
                "cannot load the library $path: {$error->getMessage()}. Install libworkhive, or set WORKHIVE_LIBRARY to its path",
                previous: $error,
            );
        }
        $version = $ffi->wh_abi_version();
        if ($version !== Abi::ABI_VERSION) {
            throw new RuntimeException(sprintf(
                'the library %s has ABI version %d, this package needs %d: install the two from the same release',
                $path,
                $version,
                Abi::ABI_VERSION,
            ));
        }
        self::$ffi = $ffi;
        self::$handle = $ffi->new('uint64_t[1]');
        self::$number = $ffi->new('uint64_t[1]');
        self::$flag = $ffi->new('int32_t[1]');
        self::$code = $ffi->new('int32_t[1]');
        self::$bytes = $ffi->new('wh_bytes');
        self::$bytesAddress = FFI::addr(self::$bytes);
    }

    /** Throws what the library has to say if `$result` is an error. */
    public static function check(int $result): void
    {
        if ($result >= Abi::ERR_NULL) {
            throw self::error($result);
        }
    }

    /** The error that the last call of this process has returned. */
    public static function error(int $result): Error
    {
        $name = self::$ffi->wh_result_name($result);
        $text = self::$ffi->wh_last_error(null);
        return new Error($text === '' ? $name : $text, $result, $name);
    }

    /** Copies what a `wh_bytes` lends; null for none. */
    public static function copy(CData $bytes): ?string
    {
        $data = $bytes->data;
        return $data === null ? null : FFI::string($data, $bytes->len);
    }

    /** What a getter of a connection lends, such as `wh_conn_remote_addr`; null if it has none, or has ended. */
    public static function lent(string $getter, int $connection): ?string
    {
        return self::$ffi->{$getter}($connection, self::$bytesAddress) === Abi::OK ? self::copy(self::$bytes) : null;
    }

    /** In this order: what the environment says, what lies in the package, what the system has. */
    private static function path(): string
    {
        $named = getenv('WORKHIVE_LIBRARY');
        if (is_string($named) && $named !== '') {
            return $named;
        }
        $packed = dirname(__DIR__, 2) . '/lib/' . self::FILE;
        return is_file($packed) ? $packed : self::FILE;
    }

    private static function declarations(): string
    {
        return file_get_contents(dirname(__DIR__) . '/workhive.h') . Callbacks::DECLARATION;
    }
}
