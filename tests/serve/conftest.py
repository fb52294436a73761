from contextlib import asynccontextmanager

import pytest

from cloudburst import Client, Limits
from cloudburst.serve.app import standing_app
from cloudburst.serve.keys import Keys
from cloudburst.testing import FakeCloud
from cloudburst.web import Jobs, fastapi_router
from support.marked_processes import Watch
from support.standing_server import standing_server
from support.web_apps import browser


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def descriptions():
    """Describe the operations for FastAPI once for each test process: it takes 0.15 s."""
    describe, found = fastapi_router._request_description, {}

    def description_of(operation):
        key = operation.method, operation.path
        if key not in found:
            found[key] = describe(operation)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastapi_router, "_request_description", description_of)
        yield


@pytest.fixture
def standing(tmp_path):
    """Open the app of a server on a fake cloud, and yield an HTTP client."""

    @asynccontextmanager
    async def opened(*keys, public_url=""):
        access = Keys(keys, public_url) if keys else None
        jobs = Jobs(
            Client(FakeCloud().backend, limits=Limits(workers=2)),
            tmp_path / "jobs",
            authorize=access.authorize if access else None,
        )
        async with standing_app(jobs, access, public_url) as app, browser(app, {}) as http:
            yield http

    return opened


@pytest.fixture
def watch(tmp_path):
    """Find the processes that a test leaves."""
    watch = Watch(tmp_path)
    yield watch
    watch.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server with a key that it has made; it renders on this machine."""
    folder = tmp_path_factory.mktemp("standing")
    with standing_server(folder, "--backend", "local", "--host", "0.0.0.0") as server:
        yield server
