"""Receivers of webhook messages without a network, and senders with virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.webhooks.definitions import Webhook, Webhooks
from cloudburst.jobs.webhooks.delivery import (
    DEFAULT_POLICY,
    DeliveryPolicy,
    MessageSender,
)
from cloudburst.net.session import SessionPolicy

SECRET = "whsec_" + "c2VjcmV0" * 6


@dataclass(frozen=True)
class Post:
    """Request that a receiver got."""

    time: float
    host: str
    id: str
    body: str


Answer = Callable[[Post], Awaitable[int | httpx.Response]]


def response_of(status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    """Return a response whose body is streamed, as that of a network is."""

    async def body() -> AsyncGenerator[bytes]:
        yield b"ok"

    return httpx.Response(status, headers=headers, content=body())


async def accept(_post: Post) -> int:
    return 200


@dataclass
class Receiver:
    """Receiver that answers with a status, and keeps all requests."""

    answer: Answer = accept
    posts: list[Post] = field(default_factory=list)
    accepted: list[Post] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        post = Post(
            anyio.current_time(),
            request.url.host,
            request.headers["webhook-id"],
            request.content.decode(),
        )
        self.posts.append(post)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = await self.answer(post)
        finally:
            self.at_once -= 1
        response = answer if isinstance(answer, httpx.Response) else response_of(answer)
        if response.is_success:
            self.accepted.append(post)
        return response


def webhook(name: str = "main", **others: Any) -> Webhook:
    return Webhook(url=f"https://{name}.example/", secrets=[SECRET], name=name, **others)


def sender(
    storage: JobDatabase,
    receiver: Receiver,
    webhooks: Iterable[Webhook] | Webhooks = (),
    *,
    policy: DeliveryPolicy = DEFAULT_POLICY,
) -> MessageSender:
    """Return a sender whose times are those of the event loop."""

    @asynccontextmanager
    async def open_client(_: SessionPolicy) -> AsyncGenerator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(receiver.handle)) as http:
            yield http

    return MessageSender(
        storage,
        webhooks if isinstance(webhooks, Webhooks) else Webhooks(webhooks or [webhook()]),
        open_client=open_client,
        policy=policy,
        clock=anyio.current_time,
    )


@asynccontextmanager
async def sending(
    storage: JobDatabase,
    receiver: Receiver,
    webhooks: Iterable[Webhook] | Webhooks = (),
    *,
    policy: DeliveryPolicy = DEFAULT_POLICY,
) -> AsyncGenerator[None]:
    """Send the messages of an outbox during the block."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sender(storage, receiver, webhooks, policy=policy).run)
        yield
        tasks.cancel_scope.cancel()
