<?php

declare(strict_types=1);

namespace Workhive\Tests;

use PHPUnit\Framework\TestCase;

/** GatewayWorker's names, across processes. */
final class GatewayTest extends TestCase
{
    private static function ask(Client $client, string $text): string
    {
        $client->send($text);
        return $client->message();
    }

    public function testOneProcessReachesWhatAnotherHolds(): void
    {
        $at = ['TEST_WS' => Server::address()];
        $server = new Server(__DIR__ . '/programs/gateway.php', $at);
        // Which process has a connection is the kernel's choice: until both have one.
        $clients = $ids = [];
        Server::until('both processes have a client', function () use ($at, &$clients, &$ids, &$all): bool {
            $all[] = $client = Client::websocket($at['TEST_WS']);
            [$slot, $id] = explode(' ', self::ask($client, 'id'));
            $clients[(int) $slot] ??= $client;
            $ids[(int) $slot] ??= $id;
            return count($clients) === 2;
        });
        [[0 => $one, 1 => $two], [0 => $oneId, 1 => $twoId]] = [$clients, $ids];
        self::assertSame('bound', self::ask($one, 'bind anna'));
        self::assertSame('bound', self::ask($two, 'bind bert'));
        self::assertSame('{"name":"anna"}', self::ask($two, "name $oneId"));
        self::assertSame("[\"$twoId\"]", self::ask($one, 'whose bert'));
        self::assertSame('[true,false,2]', self::ask($one, "online $twoId"));
        self::assertSame('[false,true,2]', self::ask($one, 'online bert'));
        // Each is brought into the room by the other's process.
        self::assertSame('joined', self::ask($one, "join $twoId"));
        self::assertSame('joined', self::ask($two, "join $oneId"));
        Server::until('both are in the room', static fn (): bool => str_starts_with(self::ask($one, 'group'), '[2,'));
        [, $members, $rooms] = json_decode(self::ask($two, 'group'), true);
        self::assertEqualsCanonicalizing([$oneId, $twoId], $members);
        self::assertSame(['room'], $rooms);
        $one->send('say to the others');
        self::assertSame('to the others', $two->message());
        $two->send('tell both');
        self::assertSame(['both', 'both'], [$one->message(), $two->message()]);
        self::assertSame('gone', self::ask($one, 'ungroup'));
        Server::until('the room is empty', static fn (): bool => str_starts_with(self::ask($one, 'group'), '[0,'));
        $one->send("kick $twoId");
        self::assertSame('bye', $two->message());
        self::assertSame(1000, $two->closeCode());
    }
}
