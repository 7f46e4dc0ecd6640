<?php

declare(strict_types=1);

namespace Workhive\Tests;

use PHPUnit\Framework\TestCase;
use RuntimeException;

/** What Workerman's users expect of connections, requests and timers, from outside. */
final class BehaviourTest extends TestCase
{
    private static Server $server;
    private static array $at = [];

    public static function setUpBeforeClass(): void
    {
        self::$at = ['TEST_TEXT' => Server::address(), 'TEST_HTTP' => Server::address(), 'TEST_WS' => Server::address()];
        self::$server = new Server(__DIR__ . '/programs/behaviour.php', self::$at);
    }

    public static function tearDownAfterClass(): void
    {
        self::$server->__destruct();
    }

    private static function text(): Client
    {
        return new Client(self::$at['TEST_TEXT']);
    }

    private static function web(): Client
    {
        return new Client(self::$at['TEST_HTTP']);
    }

    public function testHandlersNamedByStringsRunAndConnectionsHavePropertiesOfTheirOwn(): void
    {
        $client = self::text();
        self::assertMatchesRegularExpression('/^[01] listed$/', $client->ask('id'));
        self::assertSame('[["connected"],{"lobby":[]},false]', $client->ask('notes'));
        self::assertSame('{"a":1}', $client->ask('json'));
        self::assertMatchesRegularExpression('/^ESTABLISHED \d+$/', $client->ask('status'));
    }

    public function testAnErrorInAHandlerEndsThatConnectionAndIsLoggedWhole(): void
    {
        $innocent = self::text();
        self::assertSame('before', $innocent->ask('before'));
        self::assertNull(self::text()->ask('throw'));
        self::$server->waitFor('DomainException: an error in a handler');
        self::$server->waitFor('programs/behaviour.php:');
        self::assertSame('after', $innocent->ask('after'));
    }

    public function testAnErrorHandlerOfTheConnectionKeepsIt(): void
    {
        $client = self::text();
        self::assertSame('guarded: caught', $client->ask('guard'));
        self::assertSame('still', $client->ask('still'));
    }

    public function testAHandlerThatWaitsHoldsUpItsOwnConnectionOnly(): void
    {
        $one = self::text();
        $one->write("sleep 1\nid\nsleep 2\nlast\n");
        self::assertSame('other', self::text()->ask('other'));
        self::assertSame('slept 1', $one->line());
        self::assertStringEndsWith('listed', $one->line());
        self::assertSame('slept 2', $one->line());
        self::assertSame('last', $one->line());
    }

    public function testTheOldNameOfTimerWorks(): void
    {
        self::assertSame('old timer', self::text()->ask('old'));
    }

    public function testAFiberOfTheProgramsOwnCannotWaitAndIsToldSo(): void
    {
        self::assertSame('LogicException null', self::text()->ask('own'));
    }

    public function testAfterACloseNothingIsSent(): void
    {
        $client = self::text();
        self::assertSame('bye', $client->ask('gone'));
        self::assertNull($client->line());
        self::$server->waitFor('after close: false');
        self::$server->waitFor('closed 127.0.0.1 ');
    }

    public function testEndSendsLastWordsAndTakesNothingMore(): void
    {
        $client = self::text();
        $client->write("end\nignored\n");
        self::assertSame('last words', $client->line());
        self::assertNull($client->line());
    }

    public function testExitInAHandlerEndsTheProcessAndAnotherTakesOver(): void
    {
        self::assertNull(self::text()->ask('exit'));
        self::$server->waitFor('exit or die was called in a handler');
        self::$server->waitFor('generation 1');
        self::$server->waitFor('exited with code 3');
        self::$server->waitFor('shutdown of ');
        self::assertStringNotContainsString('Throwing from FFI callbacks', self::$server->said);
        self::assertSame('again', self::text()->ask('again'));
    }

    public function testAChildThatAHandlerForksEndsAsItLikes(): void
    {
        $client = self::text();
        self::assertSame('child 7', $client->ask('fork'));
        self::assertSame('still', $client->ask('still'));
    }

    public function testAHandlerThatSuspendsItsFiberFailsThere(): void
    {
        self::assertNull(self::text()->ask('suspend'));
        self::$server->waitFor('a handler cannot suspend its own Fiber');
        self::assertSame('still', self::text()->ask('still'));
    }

    public function testLinesWithLineEndsOfTheirOwnAreSeveralLines(): void
    {
        $client = self::text();
        self::assertSame('two', $client->ask('lines'));
        self::assertSame(['lines', '', 'next'], [$client->line(), $client->line(), $client->ask('next')]);
    }

    public function testAStringIsAPageOfHtml(): void
    {
        [$status, $head, $body] = self::web()->http('GET /text');
        self::assertSame([200, 'a string'], [$status, $body]);
        self::assertStringContainsStringIgnoringCase("\r\ncontent-type: text/html;charset=utf-8\r\n", $head);
    }

    public function testRequestsOutliveTheirHandlersFirstTurn(): void
    {
        self::assertSame('0.02 the body', self::web()->http('POST /sleep?s=0.02', 'the body')[2]);
        self::assertSame('PUT one the body', self::web()->http('PUT /kept', 'the body', ['X-A: one'])[2]);
    }

    public function testPipelinedRequestsAreAnsweredInTheirOrder(): void
    {
        $client = self::web();
        $client->write("GET /sleep?s=0.03 HTTP/1.1\r\nHost: a\r\n\r\nGET /text HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
        self::assertSame('0.03 ', $client->reply()[2]);
        self::assertSame('a string', $client->reply()[2]);
        self::assertSame(404, $client->reply()[0]);
    }

    public function testChunks(): void
    {
        self::assertSame('ab', self::web()->http('GET /chunks')[2]);
    }

    public function testFilesWholeAndInPart(): void
    {
        $file = tempnam(sys_get_temp_dir(), 'workhive');
        $data = random_bytes(3_000_000);
        file_put_contents($file, $data);
        $client = self::web();
        self::assertSame(sha1($data), sha1($client->http('GET /big?file=' . urlencode($file))[2]));
        [$status, $head, $body] = $client->http('GET /part?file=' . urlencode($file));
        self::assertSame([206, substr($data, 5, 3)], [$status, $body]);
        self::assertStringContainsString('bytes 5-7/3000000', $head);
        unlink($file);
    }

    public function testUploads(): void
    {
        $data = random_bytes(200_000);
        $body = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n$data\r\n--B--\r\n";
        self::assertSame(sha1($data), self::web()->http('POST /upload', $body, ['Content-Type: multipart/form-data; boundary=B'])[2]);
    }

    public function testAFieldWithALineBreakNeverReachesTheClient(): void
    {
        [$status, $head] = self::web()->http('POST /inject', "a\r\nSet-Cookie: forged=1");
        self::assertSame(500, $status);
        self::assertStringNotContainsString('forged', $head);
        self::$server->waitFor('the header field X-A has a line break');
        self::assertSame(200, self::web()->http('POST /inject', 'harmless')[0]);
    }

    public function testASecondAnswerToOneRequestIsRefused(): void
    {
        $client = self::web();
        self::assertSame('one', $client->http('GET /twice')[2]);
        self::assertSame('a string', $client->http('GET /text')[2]);
        self::$server->waitFor('was not sent: ');
    }

    public function testWebSocketsOpenWithTheirHandshake(): void
    {
        $client = Client::websocket(self::$at['TEST_WS'], '/a/path?token=good');
        self::assertStringContainsStringIgnoringCase("\r\nx-served-by: workhive\r\n", $client->answer);
        self::assertSame('early', $client->message());
        self::assertSame('opened /a/path', $client->message());
        $client->send('binary please');
        self::assertSame([2, "\xff\x00"], $client->frame());
    }

    public function testAHandshakeCanBeRefused(): void
    {
        $this->expectException(RuntimeException::class);
        $this->expectExceptionMessage('HTTP/1.1 401 ');
        Client::websocket(self::$at['TEST_WS'], '/?token=bad');
    }

    public function testTextThatIsNotUtf8IsRefusedWithTheRemedy(): void
    {
        $client = Client::websocket(self::$at['TEST_WS']);
        $client->send('anything');
        $client->message();
        $client->message();
        self::assertSame('false', $client->message());
        self::$server->waitFor('BINARY_TYPE_ARRAYBUFFER');
    }

    public function testAnErrorInAWebSocketHandlerClosesWith1011(): void
    {
        $client = Client::websocket(self::$at['TEST_WS']);
        $client->send('throw');
        self::assertSame(1011, $client->closeCode());
    }

    /** The last one of the text group's tests: it changes the handler of a process. */
    public function testZHandlersAreLookedUpWhenTheyAreDue(): void
    {
        $client = self::text();
        self::assertSame('changed', $client->ask('change'));
        self::assertSame('changed: id', $client->ask('id'));
    }
}
