from contextlib import asynccontextmanager

import pytest

from cloudburst import Client, Limits
from cloudburst.serve.app import standing_app
from cloudburst.serve.keys import Keys
from cloudburst.testing import FakeCloud
from cloudburst.web import Jobs
from support.web_apps import browser

KEY = "a-key-of-32-characters-or-more-1"


@pytest.fixture
def anyio_backend():
    return "asyncio"


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
