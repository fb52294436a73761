import pytest

from cloudburst import Client, Limits
from cloudburst.testing import FakeCloud


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def cloud():
    return FakeCloud()


@pytest.fixture
async def client(cloud):
    async with Client(cloud.backend, limits=Limits(workers=2)) as client:
        yield client
