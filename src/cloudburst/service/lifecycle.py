"""Start and stop of the service's process."""

from __future__ import annotations

import asyncio.sslproto
import contextlib
import logging
import math
import os
import shutil
import socket
import sys
import threading
from collections.abc import Generator, Sequence

import anyio
from anyio import create_task_group, move_on_after
from anyio.abc import TaskGroup
from pydantic import ValidationError

from cloudburst.errors import ConfigurationError
from cloudburst.programs import stop_signals
from cloudburst.service.app import build_app
from cloudburst.service.config import ServiceSettings, load_settings
from cloudburst.service.connections import LimitedServer, server_context, url_of
from cloudburst.service.jobs import RENDER_COMMAND
from cloudburst.service.self_test import TEST_RENDER_COMMAND
from cloudburst.service.service import RenderService, open_service
from cloudburst.service.subprocesses import become_subreaper

log = logging.getLogger("cloudburst.service")

# Seconds that a stopping service waits for callers to download finished videos.
FINAL_DOWNLOAD_TIMEOUT = 2.0
LISTEN_BACKLOG = 256
# Size in bytes of the buffer of each TLS connection, also before its handshake. With the 256 KB of
# asyncio, strangers could make the service use 760 MB, of the 2 GB of the smallest task.
asyncio.sslproto.SSLProtocol.max_size = 64 * 1024


async def serve(
    settings: ServiceSettings,
    listener: socket.socket,
    *,
    render: Sequence[str] = RENDER_COMMAND,
    probe: Sequence[str] = TEST_RENDER_COMMAND,
) -> int:
    """Run the service until a signal, a limit or the parent process ends it; return the exit code.

    Raises `ConfigurationError` for an invalid certificate or private key.
    """
    context = None
    if settings.certificate is not None and settings.private_key is not None:
        context = server_context(settings.certificate, settings.private_key.get_secret_value())
    become_subreaper()
    async with open_service(settings, render=render, probe=probe) as service:
        if settings.test_render:
            service.self_test.start()
        server = LimitedServer(build_app(service), context, settings.head_seconds)
        if settings.parent_fd is not None:
            _end_with_parent(settings.parent_fd, service)
        tasks = create_task_group()
        life = _Lifecycle(service, server, tasks)
        async with tasks:
            tasks.start_soon(life.watch_signals)
            tasks.start_soon(life.watch_limits)
            sys.stdout.write(f"listening on {url_of(listener, 'https' if context else 'http')}\n")
            sys.stdout.flush()
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    return life.code


@contextlib.contextmanager
def listening_socket(settings: ServiceSettings) -> Generator[socket.socket]:
    """Yield a socket that listens at the configured address."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    with socket.create_server(address, family=family, backlog=LISTEN_BACKLOG) as listener:
        # Its connections inherit this option. asyncio sets it only if the protocol number is given;
        # without it, the second half of a short response waits 40 ms for the peer's delayed ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


class _Lifecycle:
    """Controller that decides when the service stops.

    A signal, the end of the lifetime or idleness starts the stop. A second signal ends the process
    at once.
    """

    def __init__(self, service: RenderService, server: LimitedServer, tasks: TaskGroup) -> None:
        self.code = 0
        self._service = service
        self._settings = service.settings
        self._server = server
        self._tasks = tasks
        self._stopping = False

    async def watch_signals(self) -> None:
        with anyio.open_signal_receiver(*stop_signals()) as signals:
            async for number in signals:
                if self._stopping:
                    self.code = 128 + number
                    self._end_now()
                else:
                    self._stop(f"signal {number.name}")

    async def watch_limits(self) -> None:
        with move_on_after(self._settings.lifetime_seconds or math.inf) as limit:
            await self._idle(self._settings.idle_seconds or math.inf)
        self._stop("its lifetime has ended" if limit.cancelled_caught else "it was idle")

    async def _idle(self, seconds: float) -> None:
        while True:
            left = seconds - self._service.idle_seconds()
            if left <= 0:
                return
            await anyio.sleep(left)

    def _stop(self, reason: str) -> None:
        if not self._stopping:
            self._stopping = True
            log.info("stopping: %s", reason)
            self._tasks.start_soon(self._drain)

    async def _drain(self) -> None:
        """Let running jobs finish and be downloaded, interrupt the others, and stop."""
        stop = self._settings.stop_seconds
        margin = min(2.0, stop / 2)
        with move_on_after(stop):
            with move_on_after(stop - margin):
                await self._service.jobs.interrupt(queued_only=True)
                await self._delivered()
            await self._service.jobs.interrupt()
            with move_on_after(margin / 2):  # so that event streams can send the last state
                await self._idle(0.02)
            self._server.stop()
            await anyio.sleep_forever()
        log.warning("not stopped within %g s; ending all processes", stop)
        self._end_now()

    async def _delivered(self) -> None:
        jobs = self._service.jobs
        while jobs.active():
            await jobs.active()[0].ended.wait()
        while (quiet := self._service.idle_seconds()) < FINAL_DOWNLOAD_TIMEOUT:
            if quiet and all(job.delivered for job in jobs.all() if job.done):
                return
            await anyio.sleep(0.05)

    def _end_now(self) -> None:
        self._service.subprocesses.kill()
        self._server.force_exit = True
        self._tasks.cancel_scope.cancel()


def _end_with_parent(fd: int, service: RenderService) -> None:
    """Start a thread that ends this process and its children when the pipe ``fd`` is closed.

    The parent process holds the other end. A thread works even if the event loop is blocked.
    """
    os.set_inheritable(fd, False)

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(fd, 4096):
                pass
        service.subprocesses.kill()
        shutil.rmtree(service.folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def run() -> int:
    """Run the service until it stops, and return the exit code."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # uvicorn warns about each malformed request; any peer could fill the log with them.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    try:
        settings = load_settings()
    except ValidationError as error:
        # The text of the error would show the values, and one of them is the key.
        for fault in error.errors(include_input=False, include_url=False):
            words = (".".join(map(str, fault["loc"])), fault["msg"])
            sys.stderr.write(": ".join(filter(None, words)) + "\n")
        return 2
    try:
        with listening_socket(settings) as listener:
            return anyio.run(serve, settings, listener)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{settings.host}:{settings.port}: {error}\n")
        return 2
