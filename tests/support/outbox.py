"""Outbox of webhook messages in a database of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cloudburst.jobs.webhooks.outbox import CREATE_TABLES, enqueue

T = TypeVar("T")


class Outbox:
    """Database whose functions are called on the event loop: tests of time need no threads."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        if not self.connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in CREATE_TABLES:
                self.connection.execute(statement)

    def __call__(self, function: Callable[..., T], *args: object, **keywords: object) -> T:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = function(self.connection, *args, **keywords)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self(work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self(work)

    def add(
        self,
        job: str = "job1",
        number: int = 1,
        *,
        webhook: str = "main",
        url: str | None = None,
        owner: str = "",
        event_type: str = "job.finished",
        payload: str = "{}",
        now: float = 0.0,
    ) -> str:
        return self(
            enqueue,
            job=job,
            webhook=webhook,
            url=url,
            owner=owner,
            event_number=number,
            event_type=event_type,
            payload=payload,
            now=now,
        )

    def states(self) -> list[tuple[str, str, int, str]]:
        """Return job, webhook, number and state of all messages."""
        query = "SELECT job, webhook, number, state FROM webhook_messages ORDER BY 1, 2, 3"
        return self.connection.execute(query).fetchall()
