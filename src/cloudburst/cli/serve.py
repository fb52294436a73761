"""``cloudburst serve``: a page and an API for people and programs, until Ctrl-C."""

from __future__ import annotations

import socket
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from cloudburst.cli.backend_options import WorkerOptions
from cloudburst.cli.options import RUN
from cloudburst.cli.output import print_output
from cloudburst.cli.render import interrupt_handler
from cloudburst.client.client import Client
from cloudburst.jobs import JobLimits
from cloudburst.models.limits import Limits
from cloudburst.models.settings import Settings
from cloudburst.programs import InterruptHandler
from cloudburst.serve.app import standing_app
from cloudburst.serve.keys import Keys, keys_for
from cloudburst.serve.server import StandingServer, listening_socket, url_of
from cloudburst.web import Jobs

PORT = Number(gte=0, lte=65535)


def serve_command(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=PORT)] = 8080,
    folder: Path = Path("jobs"),
    keys: Annotated[
        list[str] | None, Parameter(name="--key", env_var="CLOUDBURST_SERVE_KEYS", negative=())
    ] = None,
    public_url: str = "",
    owner_usd: Annotated[Decimal | None, Parameter(validator=Number(gt=0))] = None,
    workers: Annotated[int | None, Parameter(validator=Number(gte=1), group=RUN)] = None,
    worker_options: WorkerOptions | None = None,
) -> int:
    """Serve a page and an API that render videos, until Ctrl-C.

    The page is at the printed URL, the API below /api, its description at /docs. Jobs outlive the
    server: it goes on with them when it is started again with the same folder.

    Parameters
    ----------
    host
        Address on which the server listens. Default: 127.0.0.1, which only this machine reaches.
    port
        Port of the server; 0 for any. Default: 8080.
    folder
        Folder for jobs, uploads and videos. Default: jobs.
    keys
        Key that requests need; repeat the option for several, all of which are valid. Rather set
        the environment variable, in which spaces separate them: other users of a machine see the
        options of a command. Default: none if only this machine reaches the server, otherwise a
        new one that is printed.
    public_url
        URL at which others reach the server, for example behind a proxy: https://example.com.
    owner_usd
        Largest bill of all jobs in 24 hours, in USD.
    workers
        Workers at once. Default: one per core, at most 4.
    """
    options = worker_options or WorkerOptions()
    settings = options.apply_to(Settings())
    limits = options.limits(Limits() if workers is None else Limits(workers=workers))
    backend = options.open_backend(settings, workers=workers)
    client = Client(backend, limits=limits, settings=settings)
    valid = keys_for(host, public_url, keys or [])
    access = Keys(valid, public_url) if valid else None
    jobs = Jobs(
        client,
        folder,
        limits=JobLimits(owner_usd=owner_usd),
        authorize=access.authorize if access else None,
        public_url=public_url and f"{public_url.rstrip('/')}/api",
    )
    app = standing_app(jobs, access)
    with interrupt_handler() as signals, listening_socket(host, port) as listener:

        def ready() -> None:
            if valid and not keys:
                print_output(f"Its key, which is not shown again: {valid[0]}")
            print_output(f"The page is at {public_url or url_of(listener)} until Ctrl-C.")

        anyio.run(_serve, jobs, StandingServer(app, ready), listener, signals)
        signals.ignore_from_now_on()
    return 0


async def _serve(
    jobs: Jobs, server: StandingServer, listener: socket.socket, signals: InterruptHandler
) -> None:
    async with jobs.lifespan():
        with signals.call_on_first_signal(server.stop):
            await server.serve([listener])
