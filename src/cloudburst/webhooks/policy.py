"""Limits and times of the delivery of webhook messages."""

from __future__ import annotations

from dataclasses import dataclass

from cloudburst.webhooks.outbox import Message

MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """Limits and times of the delivery. Times are in seconds."""

    delays: tuple[float, ...] = (
        *(5.0, 30.0, MINUTE, 5 * MINUTE, 30 * MINUTE),
        *(2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
    )
    """Delays after failed attempts, as Standard Webhooks 1.0 proposes them, with two short ones
    more: the messages of a job wait for the first of them. A message is given up when one attempt
    more than there are delays has failed."""
    jitter: float = 0.2
    """Largest part of a delay that is added to it or subtracted from it, at random: messages that
    failed at the same time are not repeated at the same time."""
    max_age: float = 96 * HOUR
    """Time from the start of which a message is not tried again after a failure: the delays take
    at most 91 hours. Messages that waited behind others are thus tried at least once."""
    attempt_timeout: float = 15.0
    """Time from the start of an attempt to the head of the answer."""
    at_once: int = 32
    """Maximum number of attempts at the same time."""
    at_once_for_each: int = 4
    """Maximum number of attempts at the same time for one webhook of the application, and for all
    webhooks of the jobs of one owner."""
    poll_interval: float = 0.5
    """Time between two looks at the outbox, into which other processes write as well."""

    def next_attempt(
        self, message: Message, *, now: float, retry_after: float, random: float
    ) -> float | None:
        """Return the time of the next attempt after a failure; ``None`` to give up the message.

        Args:
            message: The message, as it was before the failed attempt.
            now: Time in seconds since the epoch.
            retry_after: Seconds for which the receiver asks to wait.
            random: Random number from 0 to 1.
        """
        if message.attempts >= len(self.delays):
            return None
        spread = 1 + self.jitter * (2 * random - 1)
        due_at = now + max(self.delays[message.attempts] * spread, retry_after)
        return due_at if due_at <= message.queued_at + self.max_age else None


DEFAULT_POLICY = DeliveryPolicy()
