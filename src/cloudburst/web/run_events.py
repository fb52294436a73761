"""Response with the events of a run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

import anyio.to_thread
from pydantic import BaseModel

from cloudburst.engine.run import Run
from cloudburst.public_json import without_folders
from cloudburst.web.server_sent_events import EventStreamResponse, format_event


class RunEvents(EventStreamResponse):
    """Response with a run's events as server-sent events; the last event is ``report``.

    A comment is sent every 15 seconds while there is no event, so that proxies keep the connection.
    The run is cancelled when the HTTP client closes the connection. An error before the run starts
    becomes a JSON response, as with `exception_handlers`. Paths in events and in the report are
    reduced to file names.

    Args:
        run: Result of `Client.stream`.
        status_code: HTTP status of the stream.
        headers: Further headers of the response, for example a ``Location`` for the videos.
    """

    def __init__(
        self,
        run: AbstractAsyncContextManager[Run],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(_with_report(run), status_code, headers)


@asynccontextmanager
async def _with_report(run: AbstractAsyncContextManager[Run]) -> AsyncGenerator[_EventsAndReport]:
    async with run as opened:
        yield _EventsAndReport(opened)


class _EventsAndReport:
    """Iterator over the events of a run and its report, as they are sent."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._events = aiter(run)
        self._reported = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._reported:
            raise StopAsyncIteration
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            self._reported = True
            report = await self._run.until_done()
            # The report of 10,000 scenes is several MB of JSON.
            return await anyio.to_thread.run_sync(_format, "report", report)
        return _format(event.type, event)


def _format(name: str, content: BaseModel) -> bytes:
    return format_event(name, without_folders(content.model_dump(mode="json")))
