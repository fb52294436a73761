"""One account for each module: to start an emulator takes longer than most tests."""

from __future__ import annotations

import uuid

import pytest

from cloudburst.models.locations import S3Prefix
from support.s3_account import BUCKET, account, open_store


@pytest.fixture(scope="module")
def emulator():
    with account() as running:
        yield running


@pytest.fixture
async def store(emulator):
    async with open_store(emulator) as opened:
        yield opened


@pytest.fixture
def folder():
    """Return a folder that no other test uses."""
    return S3Prefix(BUCKET, f"{uuid.uuid4().hex}/")
