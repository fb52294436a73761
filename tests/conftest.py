"""Both event loops, each with a clock that jumps."""

from __future__ import annotations

import pytest
import trio.testing

from cloudburst.testing import VirtualClockLoop


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"loop_factory": VirtualClockLoop}), id="asyncio"),
        pytest.param("trio", id="trio"),
    ]
)
def anyio_backend(request):
    """Virtual time; tests with threads, sockets or processes ask for ``real_clock`` instead."""
    if request.param == "trio":
        return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
    return request.param
