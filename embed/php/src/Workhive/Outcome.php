<?php

declare(strict_types=1);

namespace Workhive;

/** What became of a push. */
final class Outcome
{
    /**
     * @param int $delivered connections that have it in their send buffer
     * @param int $refused connections that could not take it
     * @param int $unknown processes that died, or did not answer in time: it may have arrived there, or still arrive
     */
    public function __construct(
        public readonly int $delivered = 0,
        public readonly int $refused = 0,
        public readonly int $unknown = 0,
        private readonly bool $isDelivered = false,
    ) {
    }

    /** Whether at least one connection has it. */
    public function isDelivered(): bool
    {
        return $this->isDelivered;
    }

    /** Whether it may have arrived after all: who sends it again may send it twice. */
    public function isUnknown(): bool
    {
        return !$this->isDelivered && $this->unknown > 0;
    }
}
