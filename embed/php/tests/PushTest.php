<?php

declare(strict_types=1);

namespace Workhive\Tests;

use PHPUnit\Framework\TestCase;

/** `$worker->uidConnections` with four processes. */
final class PushTest extends TestCase
{
    private array $at;
    private Server $server;

    protected function setUp(): void
    {
        $this->start();
    }

    private function start(string $reusePort = '0'): void
    {
        unset($this->server);
        $this->at = ['TEST_TEXT' => Server::address(), 'TEST_WS' => Server::address(), 'TEST_REUSE_PORT' => $reusePort];
        $this->server = new Server(__DIR__ . '/programs/push.php', $this->at);
    }

    protected function tearDown(): void
    {
        unset($this->server);
    }

    /** Asks whichever process answers, and leaves out which. */
    private function door(string $line): string
    {
        return substr((new Client($this->at['TEST_TEXT']))->ask($line), 2);
    }

    private function user(string $uid): Client
    {
        $client = Client::websocket($this->at['TEST_WS']);
        $client->send($uid);
        self::assertStringStartsWith('hello from ', $client->message());
        return $client;
    }

    /** @return array<string, array{string}> */
    public function ways(): array
    {
        return ['a shared socket' => ['0'], 'a socket each' => ['1']];
    }

    /** @dataProvider ways */
    public function testAnyProcessReachesAnyUser(string $reusePort): void
    {
        $this->start($reusePort);
        $users = [];
        for ($i = 0; $i < 12; ++$i) {
            $users["user$i"] = $this->user("user$i");
        }
        $doors = [];
        $held = [];
        // Which process a connection comes to is the kernel's choice: until two at least have answered; of a shared socket
        // each is likelier to be free if others are held open.
        for ($n = 0; count($doors) < ($reusePort === '1' ? 4 : 2); ++$n) {
            self::assertLessThan(1000, $n, 'some process never got a connection');
            $uid = 'user' . $n % 12;
            $held[] = $asker = new Client($this->at['TEST_TEXT']);
            [$door, $answer] = explode(' ', $asker->ask("push $uid message $n"));
            self::assertSame('true', $answer);
            self::assertSame("message $n", $users[$uid]->message());
            $doors[$door] = true;
        }
        self::assertSame('nobody', $this->door('push stranger x'));
    }

    public function testTheOtherTabOfAUserStaysReachable(): void
    {
        [$one, $two, $three] = [$this->user('anna'), $this->user('anna'), $this->user('anna')];
        self::assertSame('true', $this->door('push anna to-all-tabs'));
        foreach ([$one, $two, $three] as $tab) {
            self::assertSame('to-all-tabs', $tab->message());
        }
        $one->close();
        $this->server->waitFor('closed');
        $two->close();
        $this->server->waitFor('closed', 2);
        self::assertSame('true', $this->door('push anna to-the-last'));
        self::assertSame('to-the-last', $three->message());
        $three->close();
        $this->server->waitFor('closed', 3);
        Server::until('anna is offline', fn (): bool => $this->door('push anna x') === 'nobody');
    }

    public function testAForeachSeesTheUsersOfAllProcesses(): void
    {
        $users = array_map($this->user(...), ['anna', 'bert', 'carl', '42']);
        self::assertSame('4', $this->door('count'));
        self::assertSame('[42,"anna","bert","carl"]', $this->door('all x everybody'));
        foreach ($users as $user) {
            self::assertSame('everybody', $user->message());
        }
    }

    public function testUnsetMakesAUserUnreachable(): void
    {
        $user = $this->user('anna');
        $user->send('leave');
        self::assertSame('left', $user->message());
        Server::until('anna is offline', fn (): bool => $this->door('push anna x') === 'nobody');
    }

    public function testCloseReachesEveryTab(): void
    {
        $tabs = [$this->user('anna'), $this->user('anna')];
        self::assertSame('kicked', $this->door('kick anna'));
        foreach ($tabs as $tab) {
            self::assertSame('go', $tab->message());
            self::assertSame(1000, $tab->closeCode());
        }
    }

    public function testOnlyConnectionsCanBeUsers(): void
    {
        self::assertStringContainsString('not string', $this->door('wrong anna'));
    }

    public function testPushesGoOnAfterAReload(): void
    {
        $user = $this->user('anna');
        self::assertSame(0, $this->server->command('reload')[0]);
        self::assertSame(1012, $user->closeCode());
        $user = $this->user('anna');
        self::assertSame('true', $this->door('push anna again'));
        self::assertSame('again', $user->message());
    }
}
