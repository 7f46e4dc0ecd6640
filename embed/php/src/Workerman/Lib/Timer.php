<?php

declare(strict_types=1);

// The name that Timer had in Workerman 3.
class_alias(Workerman\Timer::class, 'Workerman\Lib\Timer');
