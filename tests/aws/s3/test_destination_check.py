"""Checks of a folder in S3 before a run, against an emulated account."""

from __future__ import annotations

import contextlib

import anyio
import pytest

from cloudburst.aws.s3.destination_check import check_accepted, check_destination
from cloudburst.emulator.faults import Fault
from cloudburst.emulator.s3 import api
from cloudburst.emulator.s3.requests import not_implemented
from cloudburst.emulator.s3.responses import object_headers
from cloudburst.errors import AccessDeniedError, CloudburstError, ResourceMissingError
from cloudburst.models.locations import S3Prefix
from cloudburst.outputs.s3_destination import S3Destination
from cloudburst.testing import s3_fault
from support.s3_account import account, in_folder, open_store
from support.short_waits import repeat_quickly

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    repeat_quickly(monkeypatch)


async def test_an_empty_object_is_written_and_deleted(emulator, store, folder):
    found = await check_destination(store, folder)
    assert found.detail == "in us-east-1; it accepts objects"
    assert in_folder(emulator, folder) == []
    assert "not tried" in (await check_destination(store, folder, write=False)).detail


async def test_a_missing_bucket_and_a_missing_permission_are_named():
    with account(denied=frozenset({"s3:PutObject"})) as emulator:
        async with open_store(emulator) as store:
            with pytest.raises(ResourceMissingError, match="s3://none-such/"):
                await check_destination(store, S3Prefix("none-such", "a/"))
            with pytest.raises(AccessDeniedError, match="s3://videos/a/"):
                await check_destination(store, S3Prefix("videos", "a/"))


@pytest.mark.parametrize("check", [check_destination, check_accepted])
@pytest.mark.parametrize("operation", ["PutObject", "DeleteObject"])
async def test_a_check_that_is_cancelled_leaves_nothing(emulator, store, folder, check, operation):
    await store.bucket_region(folder.bucket)
    emulator.add_fault(Fault(kind="delay", seconds=0.5, operation=f"s3:{operation}"))
    with anyio.move_on_after(0.25) as scope:
        await check(store, folder)
    assert scope.cancel_called
    assert in_folder(emulator, folder) == []


async def test_a_store_that_reports_no_sha256_is_refused(emulator, store, folder, monkeypatch):
    """Otherwise each scene would fail after it was rendered."""

    def without_checksums(stored, *, checksums):
        return object_headers(stored, checksums=False)

    monkeypatch.setattr(api, "object_headers", without_checksums)
    [fault] = await S3Destination(folder, store).find_faults(None)
    assert "does not report the SHA-256" in fault.found
    assert in_folder(emulator, folder) == []


async def test_a_store_that_refuses_conditions_is_refused(emulator, store, folder, monkeypatch):
    check = api.check_conditions

    def refuse(request, current):
        if request.operation == "PutObject" and "if-none-match" in request.headers:
            raise not_implemented("If-None-Match")
        check(request, current)

    monkeypatch.setattr(api, "check_conditions", refuse)
    with anyio.fail_after(30):
        [fault] = await S3Destination(folder, store).find_faults(None)
    assert "not implemented by the emulator: If-None-Match (" in fault.found
    assert "a store with conditional writes (If-None-Match and If-Match)" in fault.found
    assert in_folder(emulator, folder) == []


async def test_a_lost_answer_is_survived(emulator, store, folder):
    emulator.add_fault(s3_fault("lost", "PutObject"))
    assert (await check_destination(store, folder)).tried
    assert in_folder(emulator, folder) == []


async def test_the_folder_of_a_film_is_checked_as_well(store, folder):
    destination = S3Destination(folder, store)
    assert await destination.find_faults(folder.object("film.mp4")) == []
    missing = S3Prefix("none-such", "films/")
    [fault] = await destination.find_faults(missing.object("film.mp4"))
    assert fault.field == "film"
    assert fault.found.startswith("s3://none-such/")
    both = await S3Destination(missing, store).find_faults(folder.object("film.mp4"))
    assert [fault.field for fault in both] == ["to"]


async def test_an_object_that_cannot_be_deleted_is_named(emulator, store, folder, caplog):
    emulator.add_fault(s3_fault("access denied", "DeleteObject"))
    found = await check_destination(store, folder)
    [left] = in_folder(emulator, folder)
    assert found.left == str(folder.object(left))
    assert found.left in found.detail
    emulator.add_fault(s3_fault("access denied", "DeleteObject"))
    assert await S3Destination(folder, store).find_faults(None) == []
    assert f"{folder}: in us-east-1; it accepts objects, but" in caplog.text
    with contextlib.suppress(CloudburstError):
        await store.delete(folder.object(left))
