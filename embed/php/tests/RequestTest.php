<?php

declare(strict_types=1);

namespace Workhive\Tests;

use LogicException;
use PHPUnit\Framework\TestCase;
use Workerman\Protocols\Http\Request;

final class RequestTest extends TestCase
{
    private static function request(string $head, string $body = ''): Request
    {
        return new Request(strtr($head, ["\n" => "\r\n"]) . "\r\n\r\n$body");
    }

    public function testTheLineAndItsParts(): void
    {
        $request = self::request("GET /a/b?x=1&y[]=2&y[]=3 HTTP/1.1\nHost: example.org:8080");
        self::assertSame('GET', $request->method());
        self::assertSame('/a/b?x=1&y[]=2&y[]=3', $request->uri());
        self::assertSame('/a/b', $request->path());
        self::assertSame('x=1&y[]=2&y[]=3', $request->queryString());
        self::assertSame('1.1', $request->protocolVersion());
        self::assertSame('1', $request->get('x'));
        self::assertSame(['2', '3'], $request->get('y'));
        self::assertSame('none', $request->get('z', 'none'));
        self::assertSame('example.org:8080', $request->host());
        self::assertSame('example.org', $request->host(true));
    }

    public function testFieldsAreFoundInAnyCaseAndJoined(): void
    {
        $request = self::request("GET / HTTP/1.1\nX-One: a\nx-one:  b \nCookie: k=v=w; z=1; broken");
        self::assertSame('a,b', $request->header('X-ONE'));
        self::assertNull($request->header('absent'));
        self::assertSame(['x-one' => 'a,b', 'cookie' => 'k=v=w; z=1; broken'], $request->header());
        self::assertSame(['k' => 'v=w', 'z' => '1'], $request->cookie());
        self::assertSame('d', $request->cookie('absent', 'd'));
    }

    public function testBodiesThatAreFormsOrJson(): void
    {
        $form = self::request("POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded", 'a=1&b[k]=%C3%A4');
        self::assertSame(['a' => '1', 'b' => ['k' => 'ä']], $form->post());
        $json = self::request("POST / HTTP/1.1\nContent-Type: application/json; charset=utf-8", '{"a":{"b":[1,2]}}');
        self::assertSame(['b' => [1, 2]], $json->post('a'));
        self::assertSame('{"a":{"b":[1,2]}}', $json->rawBody());
        self::assertSame([], self::request("POST / HTTP/1.1\nContent-Type: application/json", '{broken')->post());
    }

    public function testUploads(): void
    {
        $data = "\x00\r\n--X-not-a-boundary\r\n\xff";
        $body = implode("\r\n", [
            'what comes before is nothing', '--X',
            'Content-Disposition: form-data; name="a[b][]"', '', 'one', '--X',
            'Content-Disposition: form-data; name="a[b][]"', '', 'two', '--X',
            'Content-Disposition: form-data; name="files[x]"; filename="q\"uote.bin"', 'Content-Type: application/x-test', '', $data, '--X',
            'Content-Disposition: form-data; name="empty"; filename=""', '', '', '--X--', 'and after',
        ]);
        $request = self::request("POST / HTTP/1.1\nContent-Type: multipart/form-data; boundary=X", strtr($body, ["--X-not" => '--Xnot']));
        self::assertSame(['a' => ['b' => ['one', 'two']]], $request->post());
        $file = $request->file('files')['x'];
        self::assertSame(['q"uote.bin', 'application/x-test', UPLOAD_ERR_OK], [$file['name'], $file['type'], $file['error']]);
        self::assertSame(UPLOAD_ERR_NO_FILE, $request->file('empty')['error']);
        self::assertFileExists($file['tmp_name']);
        self::assertSame($file['size'], filesize($file['tmp_name']));
        unset($request);
        self::assertFileDoesNotExist($file['tmp_name']);
    }

    public function testTheRawTextIsWhole(): void
    {
        $raw = "PUT /x HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nbody";
        self::assertSame($raw, (new Request($raw))->rawBuffer());
        self::assertSame("PUT /x HTTP/1.1\r\nHost: a\r\nX: y", (new Request($raw))->rawHead());
    }

    public function testThereAreNoSessions(): void
    {
        $this->expectException(LogicException::class);
        self::request("GET / HTTP/1.1\nHost: a")->session();
    }
}
