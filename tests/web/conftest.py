import pytest

from cloudburst import Client, Limits
from cloudburst.testing import FakeCloud
from support.web_apps import run_app


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def cloud():
    return FakeCloud()


@pytest.fixture
def app(cloud, monkeypatch, tmp_path):
    """An app for runs on a fake cloud, writing into a folder that goes again."""
    (tmp_path / "server").mkdir()
    monkeypatch.chdir(tmp_path / "server")
    return run_app(Client(cloud.backend, limits=Limits(workers=1, idle=60, queued_scenes=2)))
