<?php

declare(strict_types=1);

namespace Workhive\Tests;

use PHPUnit\Framework\TestCase;

/** Processes and listeners under the program's own control. */
final class ControlTest extends TestCase
{
    private array $at;
    private Server $server;
    private Client $control;

    protected function setUp(): void
    {
        $this->at = ['TEST_TEXT' => Server::address(), 'TEST_INNER' => Server::address(), 'TEST_TCP' => Server::address()];
        $this->at['TEST_FOLDER'] = sys_get_temp_dir() . '/workhive-php-' . bin2hex(random_bytes(6));
        mkdir($this->at['TEST_FOLDER']);
        $this->server = new Server(__DIR__ . '/programs/control.php', $this->at);
        $this->control = new Client($this->at['TEST_TEXT']);
    }

    protected function tearDown(): void
    {
        unset($this->control, $this->server);
        array_map(unlink(...), glob("{$this->at['TEST_FOLDER']}/*"));
        rmdir($this->at['TEST_FOLDER']);
    }

    private function order(string $word): void
    {
        self::assertSame("$word done", $this->control->ask($word));
    }

    public function testAListenerComesPausesAndGoes(): void
    {
        $this->order('listen');
        self::assertSame('inner 1', (new Client($this->at['TEST_INNER']))->ask('1'));
        $this->order('pause');
        $held = new Client($this->at['TEST_INNER']);
        $held->write("2\n");
        // A whole turn of the process later it still is not served.
        $this->order('pause');
        self::assertFalse($held->isReadable(0.05));
        $this->order('resume');
        self::assertSame('inner 2', $held->line());
        $this->order('unlisten');
        // The master keeps the socket for the process, and lets go of it a moment later.
        Server::until('nobody listens', fn (): bool => @stream_socket_client("tcp://{$this->at['TEST_INNER']}", timeout: 5) === false);
        $this->order('listen');
        self::assertSame('inner 3', (new Client($this->at['TEST_INNER']))->ask('3'));
    }

    public function testUnixSockets(): void
    {
        $socket = stream_socket_client("unix://{$this->at['TEST_FOLDER']}/bytes.sock", timeout: 5);
        fwrite($socket, 'abc');
        stream_set_timeout($socket, 20);
        self::assertSame('cba', fread($socket, 10));
    }

    public function testTimersStopWhenTheyAreTold(): void
    {
        $this->order('timers');
        $this->server->waitFor('timers [true,true,true]');
    }

    public function testAnErrorInASignalHandlerEndsNothing(): void
    {
        $this->order('signal');
        $this->server->waitFor('DomainException: an error in a signal handler');
        $this->order('timers');
        self::assertFalse($this->server->saysNow('exited with'));
    }

    public function testWhatIsNotThereIsRefusedInWords(): void
    {
        $this->order('wrong');
        $this->server->waitFor('refused: udp://127.0.0.1:1: datagrams (udp) is not there');
        $this->server->waitFor('refused: ssl://127.0.0.1:1: TLS (ssl) is not there');
        $this->server->waitFor('refused: nosuch://127.0.0.1:1: there is no class Protocols\Nosuch');
        $this->server->waitFor('refused: there is no option named ping_intervall');
        $this->server->waitFor('refused: ', 5);
        self::assertStringNotContainsString('taken: ', $this->server->said);
    }

    public function testStopAllEndsTheProcessAndAnotherComes(): void
    {
        $this->control->write("stop\n");
        $this->server->waitFor('stop, false');
        $this->server->waitFor('exited with code 4');
        $this->server->waitFor('start of control 0', 2);
        $this->control = new Client($this->at['TEST_TEXT']);
        $this->order('timers');
    }

    public function testAReloadReplacesWhatIsReloadableAndTellsTheRest(): void
    {
        $this->control->write("reload\n");
        $this->server->waitFor('told of a reload');
        $this->server->waitFor('start of control 0', 2);
        self::assertSame(1, substr_count($this->server->said, 'group=stays slot=0 ready'));
    }

    public function testAPipeGoesNoFasterThanItsEnd(): void
    {
        $slow = new Client($this->at['TEST_TCP']);
        // The order of two connections at one socket is that of their handshakes.
        Server::until('the first is there', fn (): bool => str_contains($this->server->command('connections')[1], 'stays'));
        $fast = new Client($this->at['TEST_TCP']);
        $data = random_bytes(6_000_000);
        $fast->writeWhilePossible($data, fn () => $this->server->saysNow('full'));
        $received = '';
        Server::until('all has come through', function () use ($slow, $fast, &$data, &$received): bool {
            $fast->writeWhilePossible($data);
            $received .= $slow->available();
            return strlen($received) === 6_000_000;
        });
        self::assertSame('', $data);
        self::assertStringContainsString('full', $this->server->said);
    }
}
