"""The life of the service's process: how it starts, and the six ways in which it ends."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Generator, Sequence
from typing import Any

import anyio
import uvicorn
from anyio import create_task_group, move_on_after
from anyio.abc import TaskGroup
from starlette.types import ASGIApp

from cloudburst.service.app import build_app
from cloudburst.service.children import adopt_orphans
from cloudburst.service.config import ServiceSettings
from cloudburst.service.jobs import RENDER
from cloudburst.service.onestep import UNPACK
from cloudburst.service.service import Service, open_service
from cloudburst.service.tls import server_context

log = logging.getLogger("cloudburst.service")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FETCH_SECONDS = 2.0
"""While it stops: how long a caller may take to come for a video that is ready."""
BACKLOG = 256


async def serve(
    settings: ServiceSettings,
    listener: socket.socket,
    *,
    render: Sequence[str] = RENDER,
    unpack: Sequence[str] = UNPACK,
) -> int:
    """Serve until a signal, a limit or the parent's end says to stop; return the exit code.

    Raises:
        ConfigurationError: the certificate and its key are none.
    """
    context = None
    if settings.certificate is not None and settings.private_key is not None:
        context = server_context(settings.certificate, settings.private_key.get_secret_value())
    adopt_orphans()
    async with open_service(settings, render=render) as service:
        server = _Server(build_app(service, unpack=unpack), context)
        if settings.parent_fd is not None:
            _end_with_parent(settings.parent_fd, service)
        tasks = create_task_group()
        life = _Life(service, server, tasks)
        async with tasks:
            tasks.start_soon(life.watch_signals)
            tasks.start_soon(life.watch_limits)
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    return life.code


@contextlib.contextmanager
def bound(settings: ServiceSettings) -> Generator[socket.socket]:
    """A socket that listens where the settings say; an `OSError` says why it cannot."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    with socket.create_server(address, family=family, backlog=BACKLOG) as listener:
        # Inherited by its connections. asyncio sets it only where the protocol is given by number;
        # without, the second half of a short answer waits 40 ms for the other side's delayed ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


class _Life:
    """Decides when it ends. Whatever asks first starts the stop; a second signal cuts it short."""

    def __init__(self, service: Service, server: _Server, tasks: TaskGroup) -> None:
        self.code = 0
        self._service = service
        self._settings = service.settings
        self._server = server
        self._tasks = tasks
        self._stopping = False

    async def watch_signals(self) -> None:
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                if self._stopping:
                    self.code = 128 + number
                    self._end_now()
                else:
                    self._stop(f"signal {number.name}")

    async def watch_limits(self) -> None:
        with move_on_after(self._settings.lifetime_seconds or math.inf) as limit:
            await self._idle(self._settings.idle_seconds or math.inf)
        self._stop("its lifetime is over" if limit.cancelled_caught else "nothing to do")

    async def _idle(self, seconds: float) -> None:
        while True:
            left = seconds - self._service.idle()
            if left <= 0:
                return
            await anyio.sleep(left)

    def _stop(self, reason: str) -> None:
        if not self._stopping:
            self._stopping = True
            log.info("stopping: %s", reason)
            self._tasks.start_soon(self._drain)

    async def _drain(self) -> None:
        """Let what runs end and be fetched, say of the rest that it was interrupted, and go."""
        stop = self._settings.stop_seconds
        margin = min(2.0, stop / 2)
        with move_on_after(stop):
            with move_on_after(stop - margin):
                await self._service.jobs.interrupt(queued_only=True)
                await self._delivered()
            await self._service.jobs.interrupt()
            with move_on_after(margin / 2):  # for event streams to say so
                await self._idle(0.02)
            self._server.should_exit = True
            await anyio.sleep_forever()
        log.warning("not through within %g s", stop)
        self._end_now()

    async def _delivered(self) -> None:
        jobs = self._service.jobs
        while jobs.active():
            await jobs.active()[0].ended.wait()
        while (quiet := self._service.idle()) < FETCH_SECONDS:
            if quiet and all(job.delivered for job in jobs.all() if job.done):
                return
            await anyio.sleep(0.05)

    def _end_now(self) -> None:
        self._service.children.kill()
        self._server.force_exit = True
        self._tasks.cancel_scope.cancel()


class _Config(uvicorn.Config):
    """Uvicorn's, with a context for TLS that is there already and not in files."""

    def __init__(self, app: ASGIApp, context: ssl.SSLContext | None, **more: Any) -> None:
        super().__init__(app, **more)
        self._context = context

    def load(self) -> None:
        super().load()
        self.ssl = self._context


class _Server(uvicorn.Server):
    """Uvicorn without its own handling of signals, which says where it listens."""

    def __init__(self, app: ASGIApp, context: ssl.SSLContext | None) -> None:
        super().__init__(
            _Config(
                app,
                context,
                access_log=False,
                lifespan="off",
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=1,
                ws="none",
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            scheme = "https" if self.config.ssl else "http"
            sys.stdout.write(
                f"listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}\n"
            )
            sys.stdout.flush()


def _end_with_parent(fd: int, service: Service) -> None:
    """End everything at once when the other end of the pipe is closed.

    In a thread, so that it works whatever the event loop is doing.
    """
    os.set_inheritable(fd, False)

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(fd, 4096):
                pass
        service.children.kill()
        shutil.rmtree(service.folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()
