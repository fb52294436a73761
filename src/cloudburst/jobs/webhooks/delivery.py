"""Delivery of the messages in the outbox, by one process of those that share a folder.

What is known about a message is in the outbox only. A process may be killed at any time: the next
one sends the messages whose delivery is not noted, with the same ids.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import httpx
from anyio import to_thread

from cloudburst.concurrency import collapse_single, finish_despite_cancel
from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.attempt import PostOutcome, post_message
from cloudburst.jobs.webhooks.definitions import Webhook, Webhooks
from cloudburst.jobs.webhooks.outbox import Message
from cloudburst.locks import try_lock
from cloudburst.net.session import PUBLIC_URLS, TRUSTED_URLS, SessionPolicy, open_session
from cloudburst.text import describe_error

logger = logging.getLogger(__name__)

LOCK_NAME = "webhooks.lock"
# Seconds between two looks whether the process that sends has ended.
LOCK_INTERVAL = 2.0
# Seconds after which the outbox is used again after an error of the disk.
STORAGE_INTERVAL = 10.0
# Seconds for noting the outcome of an attempt, also if the process is about to end: otherwise the
# message would be sent once more.
RECORD_TIMEOUT = 10.0
MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """Limits and times of the delivery. Times are in seconds."""

    # Delays after failed attempts, as Standard Webhooks 1.0 proposes them, with two short ones
    # more: the messages of a job wait for the first of them. A message is given up when one attempt
    # more than there are delays has failed.
    delays: tuple[float, ...] = (
        *(5.0, 30.0, MINUTE, 5 * MINUTE, 30 * MINUTE),
        *(2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
    )
    # Largest part of a delay that is added to it or subtracted from it, at random: messages that
    # failed at the same time are not repeated at the same time.
    jitter: float = 0.2
    # Time from the start of which a message is not tried again after a failure: the delays take at
    # most 91 hours. Messages that waited behind others are thus tried at least once.
    max_age: float = 96 * HOUR
    # Time from the start of an attempt to the head of the answer.
    attempt_timeout: float = 15.0
    # Maximum number of attempts at the same time.
    at_once: int = 32
    # Maximum number of attempts at the same time for one webhook of the application, and for all
    # webhooks of the jobs of one owner.
    at_once_for_each: int = 4
    # Time between two looks at the outbox, into which other processes write as well.
    poll_interval: float = 0.5

    def next_attempt(
        self, message: Message, *, now: float, retry_after: float, random: float
    ) -> float | None:
        """Return the time of the next attempt after a failure; ``None`` to give up the message."""
        if message.attempts >= len(self.delays):
            return None
        spread = 1 + self.jitter * (2 * random - 1)
        due_at = now + max(self.delays[message.attempts] * spread, retry_after)
        return due_at if due_at <= message.queued_at + self.max_age else None


DEFAULT_POLICY = DeliveryPolicy()


# Function that opens an HTTP client, such as `open_session`.
OpenClient: TypeAlias = Callable[[SessionPolicy], AbstractAsyncContextManager[httpx.AsyncClient]]
# HTTP clients of a sender: with the key ``True``, one that connects to private addresses too.
_Clients: TypeAlias = Mapping[bool, httpx.AsyncClient]


async def deliver_webhooks(
    storage: JobDatabase,
    webhooks: Webhooks,
    *,
    folder: Path,
    policy: DeliveryPolicy = DEFAULT_POLICY,
    open_client: OpenClient = open_session,
) -> None:
    """Deliver the messages in the outbox until cancelled.

    Of several processes with the same folder, one delivers; when it ends, another one goes on. A
    process without webhooks returns at once, so that it keeps no other one from delivering.
    """
    if not webhooks:
        return
    sender = MessageSender(storage, webhooks, open_client=open_client, policy=policy)
    with collapse_single():
        async with _only_process(folder / LOCK_NAME):
            await sender.run()


@asynccontextmanager
async def _only_process(path: Path) -> AsyncGenerator[None]:
    while True:
        try:
            if (lock := await to_thread.run_sync(try_lock, path)) is not None:
                break
            await anyio.sleep(LOCK_INTERVAL)
        except OSError as exc:
            logger.warning("no webhooks are sent: %s", describe_error(exc))
            await anyio.sleep(STORAGE_INTERVAL)
    try:
        yield
    finally:
        # The file stays: another process may be waiting for its lock.
        with suppress(TimeoutError):
            await finish_despite_cancel(
                lambda: to_thread.run_sync(lock.release), seconds=RECORD_TIMEOUT
            )


@dataclass(eq=False, slots=True, repr=False)
class MessageSender:
    """Sender of the messages in an outbox, several at once.

    A slow webhook delays no others. Messages to URLs of jobs, which callers choose and may let
    hang, use at most half of all attempts at once.
    """

    _storage: JobDatabase
    _webhooks: Webhooks
    open_client: OpenClient
    policy: DeliveryPolicy
    clock: Callable[[], float] = time.time
    # Messages that are being sent, by job and webhook.
    _running: dict[tuple[str, str], Message] = field(default_factory=dict[tuple[str, str], Message])
    _one_ended: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        """Send messages until cancelled."""
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            clients: _Clients | None = None
            while True:
                self._one_ended = anyio.Event()
                due, pause = await self._look()
                chosen = self._chosen(due)
                # Opened on first use: that reads a file with all certificate authorities.
                if chosen and clients is None:
                    clients = await self._open_clients(stack)
                if clients is not None:
                    for message in chosen:
                        self._running[message.job, message.webhook] = message
                        tasks.start_soon(self._send, message, clients)
                with anyio.move_on_after(self.policy.poll_interval):
                    await self._one_ended.wait()
                await anyio.sleep(pause)

    async def _open_clients(self, stack: AsyncExitStack) -> _Clients | None:
        """Return the HTTP clients; ``None`` if certificate authorities cannot be read."""
        try:
            return {
                private: await stack.enter_async_context(self.open_client(policy))
                for private, policy in ((False, PUBLIC_URLS), (True, TRUSTED_URLS))
            }
        except OSError as exc:  # of SSL_CERT_FILE, for example
            logger.warning("no webhooks are sent: %s", describe_error(exc))
            await anyio.sleep(STORAGE_INTERVAL)
            return None

    async def _look(self) -> tuple[Sequence[Message], float]:
        begin = anyio.current_time()
        look = partial(
            outbox.due, now=self.clock(), of_each_webhook=2 * self.policy.at_once_for_each
        )
        try:
            found = await self._storage.read(look)
        except CloudburstError as exc:
            logger.warning("no webhooks are sent: %s", exc)
            return (), STORAGE_INTERVAL
        # With ten thousand ready messages, a look takes 20 ms. Half of the time is left to others.
        return found, anyio.current_time() - begin

    def _chosen(self, due: Sequence[Message]) -> list[Message]:
        policy, chosen = self.policy, list[Message]()
        of_each = Counter(map(_receiver, self._running.values()))
        to_jobs = sum(message.url is not None for message in self._running.values())
        free = policy.at_once - len(self._running)
        for message in due:
            if (
                len(chosen) < free
                and (message.job, message.webhook) not in self._running
                and of_each[_receiver(message)] < policy.at_once_for_each
                and not (message.url is not None and to_jobs >= policy.at_once // 2)
            ):
                chosen.append(message)
                of_each[_receiver(message)] += 1
                to_jobs += message.url is not None
        return chosen

    async def _send(self, message: Message, clients: _Clients) -> None:
        try:
            body = await self._storage.read(partial(outbox.read_payload, message=message))
            if body is not None:
                outcome = await self._attempt(message, body, clients)
                await self._record(message, self._note_of(message, outcome))
        except CloudburstError as exc:
            logger.warning("no webhooks are sent: %s", exc)
            await anyio.sleep(STORAGE_INTERVAL)
        finally:
            del self._running[message.job, message.webhook]
            self._one_ended.set()

    async def _attempt(self, message: Message, body: bytes, clients: _Clients) -> PostOutcome:
        """Return the outcome of an attempt. No error of it, expected or not, ends the delivery."""
        try:
            webhook = await self._webhook(message)
        except ConfigurationError as exc:
            return PostOutcome(error=str(exc))
        except Exception as exc:
            logger.exception("the secrets of webhook %s cannot be read", message.webhook)
            return PostOutcome(error=f"its secrets cannot be read ({type(exc).__name__})")
        if webhook is None:
            return PostOutcome(error="the process that delivers has no webhook of this name")
        try:
            return await post_message(
                clients[webhook.private],
                webhook,
                message=message.id,
                body=body,
                timestamp=self.clock(),
                timeout=self.policy.attempt_timeout,
            )
        except Exception as exc:
            logger.exception("the request to webhook %s failed", message.webhook)
            return PostOutcome(error=f"the request failed ({type(exc).__name__})")

    async def _webhook(self, message: Message) -> Webhook | None:
        with anyio.fail_after(self.policy.attempt_timeout):
            return await self._webhooks.find(message)

    def _note_of(
        self, message: Message, outcome: PostOutcome
    ) -> Callable[[sqlite3.Connection], None]:
        now, error = self.clock(), outcome.error
        if error is None:
            logger.debug("message %s was delivered to webhook %s", message.id, message.webhook)
            return partial(outbox.delivered, message=message.id, now=now)
        due_at = self.policy.next_attempt(
            message,
            now=now,
            retry_after=outcome.retry_after,
            random=random.random(),  # noqa: S311 - no secret
        )
        event = f"event {message.number} of job {message.job} for webhook {message.webhook}"
        if outcome.gone or due_at is None:
            logger.warning("%s was given up: %s", event, error)
            return partial(
                outbox.give_up,
                message=message.id,
                error=error,
                now=now,
                all_of_job=outcome.gone,
            )
        wait = due_at - now
        logger.info("%s: %s; next attempt in %.0f s", event, error, wait)
        attempts = message.attempts + 1
        return partial(
            outbox.failed, message=message.id, attempts=attempts, due_at=due_at, error=error
        )

    async def _record(self, message: Message, note: Callable[[sqlite3.Connection], None]) -> None:
        while True:
            try:
                await finish_despite_cancel(
                    partial(self._storage.write, note), seconds=RECORD_TIMEOUT
                )
            except (CloudburstError, TimeoutError) as exc:
                logger.warning(
                    "the outcome of message %s is not stored: %s", message.id, describe_error(exc)
                )
                await anyio.sleep(STORAGE_INTERVAL)
            else:
                return


def _receiver(message: Message) -> tuple[str, str]:
    return message.webhook, "" if message.url is None else message.owner
