"""``cloudburst serve``: a page, an API and tools for people and programs, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from cloudburst.cli.backend_options import StandingOptions
from cloudburst.cli.options import Folder
from cloudburst.cli.output import print_output
from cloudburst.cli.render import interrupt_handler
from cloudburst.client.backends import OpenFargate, OpenLocal, backend_list
from cloudburst.client.client import Client
from cloudburst.errors import ConfigurationError
from cloudburst.jobs import JobLimits, Places
from cloudburst.models.limits import Limits
from cloudburst.models.settings import Settings
from cloudburst.ports.backend import OpenBackend

if TYPE_CHECKING:
    from cloudburst.serve.keys import Keys
    from cloudburst.web import Jobs

# Seconds after which a connection is closed on which no request with a key has begun.
STRANGER_SECONDS = 60.0


def standing_jobs(
    options: StandingOptions, folder: Path, keys: Keys | None = None, public_url: str = ""
) -> Jobs:
    """Return the jobs of a server, which are kept in a folder."""
    from cloudburst.web import Jobs  # noqa: PLC0415 - the extra may be missing

    settings = options.apply_to(Settings())
    limits = Limits() if options.workers is None else Limits(workers=options.workers)
    backend = options.open_backend(settings, workers=options.workers)
    offered: dict[object, OpenBackend] = {type(each): each for each in backend_list(backend)}
    places = Places(machine=offered.get(OpenLocal), fargate=offered.get(OpenFargate))
    limits = options.limits(limits)
    if places.fargate and limits.max_usd is None and options.owner_usd is None:
        msg = (
            "tasks on Fargate are billed: pass --owner-usd USD, the largest bill of all jobs in 24 "
            "hours, or --budget USD, that of this process, or --backend local"
        )
        raise ConfigurationError(msg)
    return Jobs(
        Client(backend, limits=limits, settings=settings),
        folder,
        sources=options.sources,
        destinations=options.destinations,
        limits=JobLimits(owner_usd=options.owner_usd),
        places=places,
        authorize=keys.authorize if keys else None,
        public_url=public_url and f"{public_url.rstrip('/')}/api",
    )


def serve_command(
    *,
    host: Annotated[str, Parameter(metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8080,
    folder: Folder = Path("jobs"),
    keys: Annotated[
        list[str] | None,
        Parameter(name="--key", env_var="CLOUDBURST_SERVE_KEYS", negative=()),
    ] = None,
    public_url: Annotated[str, Parameter(metavar="URL")] = "",
    options: StandingOptions | None = None,
) -> int:
    """Serve a page, an API and tools for agents that render videos, until Ctrl-C.

    The page is at the printed URL, the API below /api, its description at /docs, and the tools
    (MCP) at /mcp. Jobs outlive the server: it goes on with them when it is started again with the
    same folder.

    $ cloudburst serve
    $ cloudburst serve --host 0.0.0.0 --public-url https://example.com --owner-usd 5

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
    """
    from cloudburst.serve.app import standing_app  # noqa: PLC0415 - the extra may be missing
    from cloudburst.serve.keys import Keys, keys_for  # noqa: PLC0415
    from cloudburst.serve.server import listening_socket  # noqa: PLC0415
    from cloudburst.service.connections import LimitedServer, url_of  # noqa: PLC0415

    valid = keys_for(host, public_url, keys or [])
    access = Keys(valid, public_url) if valid else None
    jobs = standing_jobs(options or StandingOptions(), folder, access, public_url)
    with interrupt_handler() as signals, listening_socket(host, port) as listener:

        async def serve() -> None:
            async with standing_app(jobs, access, public_url) as app:
                local = url_of(listener).replace("//0.0.0.0:", "//127.0.0.1:")
                print_output(f"The page is at {public_url or local} until Ctrl-C.")
                if valid and not keys:
                    print_output(f"Its key, which is not shown again: {valid[0]}")
                server = LimitedServer(app, None, STRANGER_SECONDS)
                with signals.call_on_first_signal(server.stop):
                    await server.serve([listener])

        anyio.run(serve)
        signals.ignore_from_now_on()
    return 0
