"""Real processes and sockets: asyncio, and the clock on the wall."""

from __future__ import annotations

import pytest

from support.marked_processes import Watch
from support.project import ROOT


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """Sees every process of this test, and the folder where they put what is temporary."""
    watch = Watch(temp=tmp_path / "temp")
    watch.temp.mkdir()
    for name, value in watch.environment.items():
        monkeypatch.setenv(name, value)
    yield watch
    left = watch.processes()
    watch.kill()
    assert not left


@pytest.fixture(scope="session")
def story():
    return ROOT / "examples" / "story"
