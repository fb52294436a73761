"""A service in this process, in real time."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster

from cloudburst.service.app import build_app
from cloudburst.service.config import ServiceSettings
from cloudburst.service.service import open_service
from support.service_caller import KEY, PROBE, STAND_IN, Caller, OpenCaller

SUPPORT = Path(__file__).parents[1] / "support"
GOP_STAND_IN = (sys.executable, "-I", "-S", str(SUPPORT / "gop_stand_in.py"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def _never_block() -> Generator[None]:
    buster = BlockBuster("cloudburst")
    # Starting a process blocks until it has executed: a millisecond that asyncio has no way round.
    buster.functions["os.read"].can_block_in("subprocess.py", {"_execute_child"})
    buster.activate()
    yield
    buster.deactivate()


@pytest.fixture
def caller(tmp_path: Path, _never_block: None) -> OpenCaller:
    @asynccontextmanager
    async def open_caller(**settings: Any) -> AsyncGenerator[Caller]:
        given: dict[str, Any] = {
            "key": KEY,
            "folder": tmp_path,
            "encoders": 2,
            "reserve_bytes": 0,
            **settings,
        }
        gop_command = given.pop("gop_command", GOP_STAND_IN)
        async with open_service(
            ServiceSettings(**given), render=STAND_IN, gop_command=gop_command, probe=PROBE
        ) as service:
            transport = httpx.ASGITransport(build_app(service))
            async with httpx.AsyncClient(
                transport=transport,
                base_url="http://service",
                headers={"X-Authentication-Key": KEY},
                timeout=15,
            ) as http:
                yield Caller(service, http)

    return open_caller
