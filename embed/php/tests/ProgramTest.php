<?php

declare(strict_types=1);

namespace Workhive\Tests;

use PHPUnit\Framework\TestCase;

/** Programs as a whole: their command line, listeners inside processes, the examples. */
final class ProgramTest extends TestCase
{
    private const PROGRAMS = __DIR__ . '/programs';
    private const EXAMPLES = __DIR__ . '/../examples';

    public function testWithoutAVerbTheUsageIsPrinted(): void
    {
        exec(escapeshellarg(PHP_BINARY) . ' ' . escapeshellarg(self::PROGRAMS . '/inner.php') . ' 2>&1', $lines, $code);
        self::assertSame(2, $code);
        self::assertSame('Usage: php inner.php <command> [options]', $lines[0]);
    }

    public function testASecondListenerAtOneAddressIsAnErrorThatNamesTheRemedies(): void
    {
        $at = ['TEST_HTTP' => Server::address()];
        $server = new Server(self::PROGRAMS . '/inner.php', $at);
        $server->waitFor('Address already in use');
        $server->waitFor('$worker->reusePort = true');
        self::assertMatchesRegularExpression('/^process \d$/', (new Client($at['TEST_HTTP']))->http('GET /')[2]);
    }

    public function testWithReusePortEveryProcessServes(): void
    {
        $at = ['TEST_HTTP' => Server::address(), 'TEST_REUSE_PORT' => '1'];
        $server = new Server(self::PROGRAMS . '/inner.php', $at);
        $seen = [];
        Server::until('all four have answered', function () use ($at, &$seen): bool {
            $seen[(new Client($at['TEST_HTTP']))->http('GET /')[2]] = true;
            return count($seen) === 4;
        });
        ksort($seen);
        self::assertSame(['process 0', 'process 1', 'process 2', 'process 3'], array_keys($seen));
        self::assertStringNotContainsString('Address already in use', $server->said);
    }

    public function testADaemonIsUpWhenStartReturnsAndGoneWhenStopDoes(): void
    {
        $folder = sys_get_temp_dir() . '/workhive-php-daemon-' . getmypid();
        mkdir($folder);
        copy(self::EXAMPLES . '/hello.php', "$folder/hello.php");
        file_put_contents("$folder/hello.php", strtr(file_get_contents("$folder/hello.php"), [
            "__DIR__ . '/../autoload.php'" => var_export(realpath(__DIR__ . '/../autoload.php'), true),
        ]));
        $address = Server::address();
        $run = static function (string $words) use ($folder, $address): array {
            $lines = [];
            exec("HELLO_ADDRESS=$address " . escapeshellarg(PHP_BINARY) . " $folder/hello.php $words 2>&1", $lines, $code);
            return [$code, implode("\n", $lines)];
        };
        self::assertSame(3, $run('status')[0]);
        self::assertSame(0, $run('start -d')[0]);
        self::assertSame('Hello, you!', (new Client($address))->http('GET /?name=you')[2]);
        self::assertSame(0, $run('status')[0]);
        self::assertFileExists("$folder/workerman.hello.php.pid");
        self::assertSame(0, $run('reload -g')[0]);
        self::assertSame(0, $run('connections')[0]);
        self::assertSame(1, $run('start -d')[0]);
        self::assertSame(0, $run('stop')[0]);
        self::assertSame(3, $run('status')[0]);
        self::assertStringContainsString('ready', file_get_contents("$folder/workerman.log"));
        array_map(unlink(...), glob("$folder/*"));
        rmdir($folder);
    }

    public function testComposerInstallsThePackage(): void
    {
        if (trim((string) shell_exec('command -v composer')) === '') {
            self::markTestSkipped('composer is not installed');
        }
        $folder = sys_get_temp_dir() . '/workhive-php-composer-' . getmypid();
        mkdir($folder);
        file_put_contents("$folder/composer.json", json_encode([
            'repositories' => [['type' => 'path', 'url' => dirname(__DIR__), 'options' => ['symlink' => false]], ['packagist.org' => false]],
            'require' => ['workhive/workhive' => '*'],
        ]));
        exec("cd $folder && COMPOSER_HOME=$folder/home COMPOSER_ALLOW_SUPERUSER=1 composer install --no-interaction 2>&1", $lines, $code);
        self::assertSame(0, $code, implode("\n", $lines));
        file_put_contents("$folder/names.php", <<<'PHP'
            <?php
            require __DIR__ . '/vendor/autoload.php';
            new Workerman\Worker('text://127.0.0.1:1');
            echo Workerman\Lib\Timer::class, GatewayWorker\Lib\Gateway::class, class_exists(Workerman\Lib\Timer::class) ? ' ok' : '';
            PHP);
        exec(escapeshellarg(PHP_BINARY) . " $folder/names.php 2>&1", $output);
        exec('rm -rf ' . escapeshellarg($folder));
        self::assertSame(['Workerman\Lib\TimerGatewayWorker\Lib\Gateway ok'], $output);
    }

    public function testThePushExample(): void
    {
        $at = ['PUSH_ADDRESS' => Server::address(), 'PUSH_TEXT_ADDRESS' => Server::address()];
        $server = new Server(self::EXAMPLES . '/push.php', $at, ['--log-level', 'info', '--log-format', 'text']);
        $client = Client::websocket($at['PUSH_ADDRESS']);
        $client->send('anna');
        $line = '{"uid":"anna","percent":"88%"}';
        Server::until('anna is online', static fn (): bool => (new Client($at['PUSH_TEXT_ADDRESS']))->ask($line) === 'ok');
        self::assertSame($line, $client->message());
        self::assertSame('fail', (new Client($at['PUSH_TEXT_ADDRESS']))->ask('{"uid":"bert"}'));
    }

    public function testTheChatExample(): void
    {
        $at = ['CHAT_ADDRESS' => Server::address(), 'CHAT_PAGE_ADDRESS' => Server::address()];
        $server = new Server(self::EXAMPLES . '/chat.php', $at, ['--log-level', 'info', '--log-format', 'text']);
        self::assertStringContainsString('<title>chat</title>', (new Client($at['CHAT_PAGE_ADDRESS']))->http('GET /')[2]);
        $anna = Client::websocket($at['CHAT_ADDRESS'], '/?nick=anna');
        self::assertSame('{"from":"anna","event":"joined","people":1}', $anna->message());
        $bert = Client::websocket($at['CHAT_ADDRESS'], '/?nick=bert');
        self::assertSame('{"from":"bert","event":"joined","people":2}', $bert->message());
        self::assertSame('{"from":"bert","event":"joined","people":2}', $anna->message());
        $bert->send('@anna psst');
        self::assertSame('{"from":"bert","private":"psst"}', $anna->message());
        self::assertSame('{"from":"bert","private":"psst"}', $bert->message());
        $bert->send('@carl hello');
        self::assertSame(['from' => 'bert', 'private' => 'hello'], json_decode($bert->message(), true));
        self::assertSame('{"from":"chat","text":"carl is not here"}', $bert->message());
        $bert->close();
        self::assertSame('{"from":"bert","event":"left"}', $anna->message());
    }
}
