<?php

declare(strict_types=1);

namespace Workerman\Protocols\Http;

use Stringable;

/**
 * One event of a `text/event-stream`: `event`, `id`, `retry` and `data`, and a comment under the empty key.
 *
 *     $connection->send(new ServerSentEvents(['event' => 'tick', 'data' => 'one']));
 */
class ServerSentEvents implements Stringable
{
    /** @param array{'': string, event: string, id: string|int, retry: int, data: string} $data any of these */
    public function __construct(protected array $data)
    {
    }

    public function __toString(): string
    {
        $text = '';
        foreach (['', 'event', 'id', 'retry', 'data'] as $name) {
            if (!isset($this->data[$name])) {
                continue;
            }
            foreach (preg_split('/\r\n|\r|\n/', (string) $this->data[$name]) as $line) {
                $text .= "$name: $line\n";
                if ($name !== 'data' && $name !== '') {
                    // A line break in one of the others would begin a field that is not meant.
                    break;
                }
            }
        }
        return "$text\n";
    }
}
