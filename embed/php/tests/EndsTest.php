<?php

declare(strict_types=1);

namespace Workhive\Tests;

use PHPUnit\Framework\TestCase;

/** How connections end, buffers fill and empty, and handlers wait. */
final class EndsTest extends TestCase
{
    private array $at;
    private Server $server;

    protected function setUp(): void
    {
        $this->at = ['TEST_WS' => Server::address(), 'TEST_TCP' => Server::address(), 'TEST_TEXT' => Server::address(), 'TEST_OWN' => Server::address()];
        $this->at['TEST_LOG'] = sys_get_temp_dir() . '/workhive-php-' . bin2hex(random_bytes(6)) . '.log';
        $this->server = new Server(__DIR__ . '/programs/ends.php', $this->at);
    }

    protected function tearDown(): void
    {
        unset($this->server);
        @unlink($this->at['TEST_LOG']);
    }

    public function testTheLogIsWrittenThoughTheProgramThrowsAllWarnings(): void
    {
        self::assertStringContainsString('ready: 4 processes', file_get_contents($this->at['TEST_LOG']));
    }

    public function testAnErrorBehindAHandlerThatWaitsEndsTheConnectionInGoodOrder(): void
    {
        $client = new Client($this->at['TEST_OWN']);
        $client->write("slow\nbad\nnever\n");
        self::assertSame('slow done', $client->line());
        self::assertNull($client->line());
        $this->server->waitFor('DomainException: a bad package');
        $this->server->waitFor('the brittle one has ended');
    }

    public function testAProtocolThatNeverFindsAPackageIsCutOff(): void
    {
        $client = new Client($this->at['TEST_OWN']);
        $client->write(str_repeat('x', 5000));
        self::assertNull($client->line());
        $this->server->waitFor('is broken or too long');
        $this->server->waitFor('the brittle one has ended');
    }

    /** @return array<string, array{string, ?int}> */
    public static function ends(): array
    {
        return ['close' => ['close', 1000], 'closeWith' => ['code', 4001], 'destroy' => ['destroy', null]];
    }

    /** @dataProvider ends */
    public function testWhatTheProgramClosesHasEndedForItAtOnceAndOnce(string $order, ?int $code): void
    {
        // It never answers the close frame: the library waits for that, the program does not.
        $client = Client::websocket($this->at['TEST_WS']);
        $other = Client::websocket($this->at['TEST_WS']);
        $client->send($order);
        $this->server->waitFor("onClose CLOSED 127.0.0.1 listed\nafter $order: CLOSED unlisted\n");
        $other->send('other');
        self::assertSame('count 1 1', $other->message());
        if ($order === 'close') {
            self::assertSame('bye', $client->message());
        }
        self::assertSame($code, $client->closeCode());
        $client->close();
        $other->close();
        $this->server->waitFor('onClose ', 2);
        // Another end of the first one would have been told by now.
        $last = Client::websocket($this->at['TEST_WS']);
        $last->send('other');
        self::assertSame('count 1 1', $last->message());
        self::assertSame(2, substr_count($this->server->said, 'onClose '));
    }

    public function testAUserWhoIsClosedCanBeTakenOffInOnClose(): void
    {
        $client = Client::websocket($this->at['TEST_WS']);
        $client->send('uid');
        $this->server->waitFor("after uid: CLOSED unlisted\nuid: false\n");
        self::assertSame('bye', $client->message());
    }

    public function testAnErrorInOnCloseIsLoggedAndWhoeverHasClosedGoesOn(): void
    {
        $client = Client::websocket($this->at['TEST_WS']);
        $client->send('fail');
        $this->server->waitFor('DomainException: an error in onClose');
        $this->server->waitFor("after fail: CLOSED unlisted\n");
        self::assertSame('bye', $client->message());
        self::assertSame(1000, $client->closeCode());
    }

    public function testACloseWaitsForAClientThatHasMuchToRead(): void
    {
        $client = new Client($this->at['TEST_TCP']);
        $client->write('much');
        $this->server->waitFor('much: CLOSING');
        self::assertFalse($this->server->saysNow('the slow one has closed'));
        $received = 0;
        Server::until('all of it has come', static function () use ($client, &$received): bool {
            $received += strlen($client->available());
            return $received === 8_000_000;
        });
        $client->close();
        $this->server->waitFor('the slow one has closed');
    }

    public function testAFullBufferPausesItsSourceAndAnEmptyOneLetsItGoOn(): void
    {
        $client = new Client($this->at['TEST_TCP']);
        foreach ([1, 2] as $time) {
            $client->write('go');
            $this->server->waitFor('sent 200000', $time);
            $received = 0;
            Server::until('all of it has come', static function () use ($client, &$received): bool {
                $received += strlen($client->available());
                return $received === 200_000;
            });
            $this->server->waitFor("drain\n", $time);
            self::assertSame($time, substr_count($this->server->said, "full\n"));
        }
    }

    public function testManyHandlersThatWaitAtOnceAreNoExit(): void
    {
        $clients = [];
        for ($i = 0; $i < 150; ++$i) {
            $clients[$i] = new Client($this->at['TEST_TEXT']);
            $clients[$i]->write("0.3\n");
        }
        foreach ($clients as $client) {
            self::assertSame('0.3 done', $client->line());
        }
        self::assertFalse($this->server->saysNow('exit or die'));
        self::assertNull($clients[0]->ask('exit'));
        $this->server->waitFor('exit or die');
        $this->server->waitFor('exited with code 5');
    }

    public function testDeletingAllTimersLeavesThoseWhoSleepAlone(): void
    {
        $sleeper = new Client($this->at['TEST_TEXT']);
        $sleeper->write("0.2\n");
        self::assertSame('delAll done', (new Client($this->at['TEST_TEXT']))->ask('delAll'));
        self::assertSame('0.2 done', $sleeper->line());
    }

    public function testATimerOfAProcessThatEndsIsNoError(): void
    {
        self::assertSame(0, $this->server->command('reload')[0]);
        $this->server->waitFor('a timer of an ending process: int');
    }
}
