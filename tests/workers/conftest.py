"""Fixtures of the workers' tests, which use the real clock for threads and sockets."""

from __future__ import annotations

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=pytest.mark.nightly)])
def anyio_backend(request):
    return request.param


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop():
    with blockbuster_ctx(scanned_modules=["cloudburst.workers"]):
        yield
