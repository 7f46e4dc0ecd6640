<?php

declare(strict_types=1);

namespace Workhive\Tests;

use PHPUnit\Framework\TestCase;
use ReflectionClass;
use Workhive\Abi;
use Workhive\Tools\Header;

/** What this package believes of the C interface is what the header says. */
final class HeaderTest extends TestCase
{
    private const HEADER = __DIR__ . '/../../include/workhive.h';

    protected function setUp(): void
    {
        if (!is_file(self::HEADER)) {
            self::markTestSkipped('the C header is not beside this package');
        }
    }

    public function testTheDeclarationsAreThoseOfTheHeader(): void
    {
        self::assertSame(
            Header::derive(file_get_contents(self::HEADER)),
            file_get_contents(__DIR__ . '/../src/workhive.h'),
            'make it anew: php tools/derive-header.php > src/workhive.h',
        );
    }

    public function testTheNumbersAreThoseOfTheHeader(): void
    {
        $numbers = Header::numbers(file_get_contents(self::HEADER));
        $ours = (new ReflectionClass(Abi::class))->getConstants();
        self::assertGreaterThan(80, count($ours));
        foreach ($ours as $name => $number) {
            self::assertSame($numbers["WH_$name"] ?? null, $number, "WH_$name");
        }
    }

    public function testWhatPhpCannotReadIsMadeReadable(): void
    {
        $derived = Header::derive(<<<'C'
            #ifndef WORKHIVE_H
            #define WH_OK 0
            /* a comment; with a semicolon */
            #ifdef __cplusplus
            extern "C" {
            #endif
            typedef struct wh_request wh_request;
            typedef int32_t (*wh_request_fn)(void *user, wh_conn conn, const struct wh_request *request, const uint8_t *data);
            wh_result wh_conn_send(wh_conn conn,
                                   const uint8_t *data, // bytes
                                   void *user);
            #ifdef __cplusplus
            }
            #endif
            #endif
            C);
        self::assertSame([
            'typedef int32_t (*wh_request_fn)(size_t user, wh_conn conn, size_t request, const uint8_t *data);',
            'wh_result wh_conn_send(wh_conn conn, const char *data, size_t user);',
        ], array_slice(explode("\n", trim($derived)), 1));
    }
}
