<?php

declare(strict_types=1);

require_once __DIR__ . '/../autoload.php';

spl_autoload_register(static function (string $class): void {
    foreach (['Workhive\\Tests\\' => __DIR__, 'Workhive\\Tools\\' => dirname(__DIR__) . '/tools'] as $space => $folder) {
        if (str_starts_with($class, $space)) {
            require $folder . '/' . strtr(substr($class, strlen($space)), '\\', '/') . '.php';
        }
    }
});
