<?php

/**
 * Loads the classes of this package on demand: `Workerman\..`, `Workhive\..` and `GatewayWorker\Lib\Gateway`. Programs
 * that use Composer need not require it.
 *
 * A protocol of the program's own, `Protocols\Name`, is also looked for in the folder Protocols beside the program.
 */

declare(strict_types=1);

spl_autoload_register(static function (string $class): void {
    [$top] = explode('\\', $class, 2);
    $path = match ($top) {
        'Workhive', 'Workerman', 'GatewayWorker' => __DIR__ . '/src/' . strtr($class, '\\', '/') . '.php',
        'Protocols' => dirname((string) realpath($_SERVER['SCRIPT_FILENAME'] ?? '.')) . '/' . strtr($class, '\\', '/') . '.php',
        default => null,
    };
    if ($path !== null && is_file($path)) {
        require $path;
    }
});
