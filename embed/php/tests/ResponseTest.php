<?php

declare(strict_types=1);

namespace Workhive\Tests;

use InvalidArgumentException;
use PHPUnit\Framework\TestCase;
use Workerman\Protocols\Http\Response;
use Workerman\Protocols\Http\ServerSentEvents;
use Workhive\Fields;

final class ResponseTest extends TestCase
{
    public function testFieldsBecomeLines(): void
    {
        $response = (new Response(200, ['X-A' => 'b', 'Content-Length' => '999']))->withHeaders(['X-B' => ['c', 'd']]);
        self::assertSame("X-A: b\nX-B: c\nX-B: d\nContent-Type: text/html;charset=utf-8\n", Fields::lines($response->getHeaders()));
        self::assertSame("content-type: a/b\n", Fields::lines(['content-type' => 'a/b']));
    }

    public function testCookies(): void
    {
        $response = (new Response())->cookie('a', 'b;c', 60, '/p', 'example.org', true, true, 'Lax')->cookie('d');
        self::assertSame(
            ['a=b%3Bc; Domain=example.org; Max-Age=60; Path=/p; Secure; HttpOnly; SameSite=Lax', 'd='],
            $response->getHeader('Set-Cookie'),
        );
    }

    /** @return array<string, array{string, string}> */
    public function badFields(): array
    {
        return [
            'LF in a value' => ['X-A', "a\nSet-Cookie: b=c"],
            'CR in a value' => ['X-A', "a\rb"],
            'NUL in a value' => ['X-A', "a\0b"],
            'CRLF at the end' => ['X-A', "a\r\n"],
            'LF in a name' => ["X\nY", 'a'],
            'LF at the end of a name' => ["X-A\n", 'a'],
            'colon in a name' => ['X:Y', 'a'],
            'NUL in a name' => ["X\0", 'a'],
            'blank in a name' => ['X Y', 'a'],
            'no name' => ['', 'a'],
        ];
    }

    /** @dataProvider badFields */
    public function testWhatCannotBeAFieldIsRefused(string $name, string $value): void
    {
        foreach (
            [
                static fn () => (new Response())->header($name, $value),
                static fn () => Fields::lines((new Response(200, [$name => $value]))->getHeaders()),
                static fn () => Fields::lines((new Response())->withHeaders([$name => [$value]])->getHeaders()),
            ] as $way => $attempt
        ) {
            try {
                $attempt();
                self::fail("taken in way $way");
            } catch (InvalidArgumentException $refused) {
                self::assertStringNotContainsString("\n", $refused->getMessage());
            }
        }
    }

    public function testACookieWithALineBreakInItsPathIsRefused(): void
    {
        $this->expectException(InvalidArgumentException::class);
        (new Response())->cookie('a', 'b', path: "/\r\nX-B: c");
    }

    public function testWhatIsAStream(): void
    {
        $asked = static function (array $headers): int {
            $flags = 0;
            Fields::lines($headers, $flags);
            return $flags;
        };
        self::assertSame(0, $asked([]));
        self::assertSame(0, $asked(['Content-Type' => 'text/html', 'X-A' => 'chunked', 'Connection' => 'keep-alive']));
        self::assertSame(Fields::IS_STREAM, $asked(['transfer-encoding' => 'Chunked']));
        self::assertSame(Fields::IS_STREAM, $asked(['Content-Type' => ['text/event-stream; charset=utf-8']]));
        self::assertSame(Fields::WANTS_CLOSE, $asked(['Connection' => 'close']));
    }

    public function testAFileThatIsNotThereIsA404(): void
    {
        self::assertSame(404, (new Response())->withFile('/nowhere/at/all')->getStatusCode());
    }

    public function testEventsCannotBeForged(): void
    {
        self::assertSame(
            "event: tick\nid: 4\nretry: 5\ndata: a\ndata: b\n\n",
            (string) new ServerSentEvents(['event' => "tick\ndata: forged", 'data' => "a\nb", 'id' => 4, 'retry' => 5]),
        );
        self::assertSame(": keep\n\n", (string) new ServerSentEvents(['' => 'keep']));
    }
}
