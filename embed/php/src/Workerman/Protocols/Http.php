<?php

declare(strict_types=1);

namespace Workerman\Protocols;

/** Names the protocol, as in `$worker->protocol = Http::class`; HTTP itself is in the library. */
class Http
{
}
