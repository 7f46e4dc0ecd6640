<?php
// Loads the classes of a bare checkout of Workerman, which lacks the coroutine package: no more of it is needed here than this.

final class NoCoroutines
{
    public static function destroy(): void
    {
    }
}

spl_autoload_register(static function (string $class): void {
    if ($class === 'Workerman\\Coroutine\\Context') {
        class_alias(NoCoroutines::class, $class);
    } elseif (str_starts_with($class, 'Workerman\\')) {
        $file = getenv('BENCH_WORKERMAN') . '/src/' . strtr(substr($class, 10), '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});
