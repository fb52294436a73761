"""Claims of videos in S3, against an emulated account."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import time
from dataclasses import replace
from datetime import timedelta

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from cloudburst.aws.s3 import (
    claim_checks,
    claim_file,
    claim_lock,
    claims,
    request_waits,
    stopwatch,
    uncancelled,
)
from cloudburst.aws.s3.claim_file import FoundClaim, read_claim
from cloudburst.aws.s3.claims import claim_objects
from cloudburst.aws.s3.destination_check import check_accepted, check_destination
from cloudburst.emulator.faults import Fault
from cloudburst.emulator.s3 import api
from cloudburst.emulator.s3.requests import not_implemented
from cloudburst.emulator.s3.responses import object_headers
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    OutputClaimedError,
    OutputExistsError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Prefix
from cloudburst.s3_destination import S3Destination
from cloudburst.testing import s3_fault, s3_fault_mix
from support.emulator_calls import client
from support.s3_account import BUCKET, account, content, keys, open_store, operations, put

pytestmark = pytest.mark.anyio

QUICK = Backoff(first=0.01, factor=1.0, cap=0.01)
SEEDS = range(int(os.environ.get("CLOUDBURST_SEEDS", "3")))


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    monkeypatch.setattr("cloudburst.aws.client.client.CALL_BACKOFF", QUICK)
    monkeypatch.setattr(claim_lock, "LOCK_BACKOFF", QUICK)
    monkeypatch.setattr(uncancelled, "DELETE_BACKOFF", QUICK)


def claim(store, folder, *names, run="r", **more):
    return claim_objects(
        store,
        folder,
        names or ("a", "b"),
        run=run,
        **{"overwrite": False, "on_lost": pytest.fail, **more},
    )


def in_folder(emulator, folder):
    start = folder.prefix
    return [key.removeprefix(start) for key in keys(emulator) if key.startswith(start)]


def abandon(emulator, folder, run="old", names=("a",), *, ttl=600, where=None):
    """Write a claim as a process does that was killed afterwards."""
    left = {"run": run, "owner": "o", "host": "far", "pid": 7, "names": names, "ttl": ttl}
    target = where or folder.object(f".cloudburst/claims/{run}.json")
    put(emulator, target, json.dumps(left).encode())
    return target


@pytest.fixture
def no_inaccuracy(monkeypatch):
    """A claim with a time to live of 0 s has expired at once."""
    monkeypatch.setattr(claim_file, "DATE_RESOLUTION", timedelta(seconds=-1))


async def test_a_claim_names_the_run_and_is_released(emulator, store, folder):
    async with claim(store, folder, covers=["a"]) as claimed:
        assert claimed.videos == {"a": folder.object("a.mp4"), "b": folder.object("b.mp4")}
        assert in_folder(emulator, folder) == [".cloudburst/claims/r.json"]
        written = json.loads(content(emulator, folder.object(".cloudburst/claims/r.json")))
        assert (written["run"], written["names"]) == ("r", ["a", "b"])
    assert in_folder(emulator, folder) == []


async def test_an_overlapping_run_is_refused(store, folder):
    async with claim(store, folder):
        with pytest.raises(OutputClaimedError, match=r"run r \(process \d+ on .*b.mp4.* expires"):
            async with claim(store, folder, "b", "c", run="other"):
                pass
        async with claim(store, folder, "c", run="other"):
            pass
        with pytest.raises(OutputClaimedError, match="already works on this run"):
            async with claim(store, folder, "z"):
                pass
    async with claim(store, folder, "b", run="other"):
        pass


async def test_existing_videos_and_covers_are_refused(emulator, store, folder):
    for name in ("B.mp4", "a.jpg", "a.mp4x", "in/a.mp4"):
        put(emulator, folder.object(name))
    async with claim(store, folder):
        pass
    with pytest.raises(OutputExistsError, match=r"a\.jpg"):
        async with claim(store, folder, covers=["a"]):
            pass
    put(emulator, folder.object("b.mp4"))
    with pytest.raises(OutputExistsError, match=r"b\.mp4"):
        async with claim(store, folder):
            pass
    for allowed in ({"overwrite": True}, {"resume": True}):
        async with claim(store, folder, **allowed):
            pass
    assert not any(name.startswith(".cloudburst") for name in in_folder(emulator, folder))


async def test_existing_videos_are_found_on_any_page_of_the_list(
    emulator, store, folder, monkeypatch
):
    for name in ("a.mp4x", "b.mp4"):
        put(emulator, folder.object(name))
    call = store.aws.call

    async def small_pages(service, operation, **more):
        size = {"MaxKeys": 1} if operation == "list_objects_v2" else {}
        return await call(service, operation, **more, **size)

    monkeypatch.setattr(store.aws, "call", small_pages)
    with pytest.raises(OutputExistsError, match=r"b\.mp4"):
        async with claim(store, folder):
            pass


async def test_keys_that_are_too_long_are_refused_before_anything_is_written(emulator, store):
    folder = S3Prefix(BUCKET, f"{'f' * 900}/")
    with pytest.raises(ConfigurationError, match=r"1024 bytes: s3://.*nnn\.mp4"):
        async with claim(store, folder, "a", "n" * 150):
            pass
    assert in_folder(emulator, folder) == []


async def test_a_claim_that_expired_is_removed(emulator, store, folder, no_inaccuracy, monkeypatch):
    """That of other videos is kept for a day: its run may go on."""
    abandon(emulator, folder, ttl=0)
    abandon(emulator, folder, "live", names=("z",))
    abandon(emulator, folder, "asleep", names=("z",), ttl=0)
    put(emulator, folder.object(".cloudburst/claims/odd.json"), b"{")
    async with claim(store, folder):
        found = in_folder(emulator, folder)
    assert found == [f".cloudburst/claims/{name}.json" for name in ("asleep", "live", "odd", "r")]
    monkeypatch.setattr(claim_checks, "CLAIM_RETENTION", timedelta(0))
    async with claim(store, folder):
        found = in_folder(emulator, folder)
    assert found == [f".cloudburst/claims/{name}.json" for name in ("live", "odd", "r")]


async def test_a_run_that_is_refused_removes_no_claim(emulator, store, folder, no_inaccuracy):
    abandon(emulator, folder, ttl=0)
    put(emulator, folder.object("b.mp4"))
    with pytest.raises(OutputExistsError):
        async with claim(store, folder):
            pass
    assert in_folder(emulator, folder) == [".cloudburst/claims/old.json", "b.mp4"]


async def test_an_expired_claim_that_is_renewed_just_before_it_is_removed(
    emulator, store, folder, no_inaccuracy, monkeypatch
):
    """Its run goes on, so that the other one is refused."""
    abandon(emulator, folder, ttl=0)
    delete = store.delete

    async def late(location, **more):
        if location.name == "old.json":
            await anyio.to_thread.run_sync(abandon, emulator, folder)
        await delete(location, **more)

    monkeypatch.setattr(store, "delete", late)
    with pytest.raises(OutputClaimedError, match=r"run old \(.*is writing .*a\.mp4"):
        async with claim(store, folder):
            pass
    assert in_folder(emulator, folder) == [".cloudburst/claims/old.json"]


async def test_an_abandoned_run_is_taken_over_by_its_resume(emulator, store, folder):
    abandon(emulator, folder, "r")
    with pytest.raises(OutputClaimedError, match=r"process 7 on far"):
        async with claim(store, folder):
            pass
    async with claim(store, folder, resume=True):
        written = json.loads(content(emulator, folder.object(".cloudburst/claims/r.json")))
        assert written["host"] != "far"


async def test_the_run_that_lost_its_claim_is_told(emulator, store, folder, monkeypatch):
    monkeypatch.setattr(claims, "RENEWAL_INTERVAL", 0.05)
    lost, errors = anyio.Event(), []

    def on_lost(error):
        errors.append(error)
        lost.set()

    async with claim(store, folder, on_lost=on_lost):
        await anyio.sleep(0.2)
        assert not lost.is_set()
        async with claim(store, folder, resume=True):
            with anyio.fail_after(30):
                await lost.wait()
            await anyio.sleep(0.2)
    [error] = errors
    assert "has taken over" in str(error)
    assert error.holder.startswith("run r")
    assert in_folder(emulator, folder) == []


async def test_a_run_whose_claim_expired_ends_if_another_run_has_its_videos(
    emulator, store, folder, monkeypatch
):
    monkeypatch.setattr(claims, "RENEWAL_INTERVAL", 0.05)
    lost, errors = anyio.Event(), []

    def on_lost(error):
        errors.append(error)
        lost.set()

    async with claim(store, folder, on_lost=on_lost):
        abandon(emulator, folder, "faster", names=("b",))
        await store.delete(folder.object(".cloudburst/claims/r.json"))
        with anyio.fail_after(30):
            await lost.wait()
        await anyio.sleep(0.2)
        assert in_folder(emulator, folder) == [".cloudburst/claims/faster.json"]
    [error] = errors
    assert "b.mp4" in str(error)
    assert error.holder.startswith("run faster")


class TestPauses:
    """While a machine is suspended, its monotonic clock stands still on Linux and macOS."""

    @pytest.fixture
    def sleep(self, monkeypatch):
        """Return a function after which this machine has slept longer than a claim is valid."""

        def sleep():
            monkeypatch.setattr(stopwatch, "wall_clock", lambda: time.time() + 700)

        return sleep

    @pytest.fixture
    def no_checks(self, monkeypatch):
        """The task that renews the claim does not notice a pause."""
        monkeypatch.setattr(stopwatch, "PAUSE_CHECK_INTERVAL", 1000)

    def take_over(self, emulator, folder, *, same_run):
        """Do what another process does when it has found the expired claim."""
        if same_run:
            abandon(emulator, folder, "r")
        else:
            abandon(emulator, folder, "faster", names=("b",))
            where = folder.object(".cloudburst/claims/r.json")
            client(emulator, "s3").delete_object(Bucket=where.bucket, Key=where.key)

    @pytest.mark.parametrize("same_run", [True, False])
    async def test_a_run_that_lost_its_claim_meanwhile_ends(
        self, emulator, store, folder, sleep, same_run
    ):
        lost = anyio.Event()
        async with claim(store, folder, on_lost=lambda _: lost.set()):
            self.take_over(emulator, folder, same_run=same_run)
            await anyio.wait_all_tasks_blocked()  # also the task that renews the claim
            sleep()
            with anyio.fail_after(15):  # the next renewal would be after 150 s
                await lost.wait()

    @pytest.mark.usefixtures("no_checks")
    @pytest.mark.parametrize("same_run", [True, False])
    async def test_nothing_is_written_after_the_claim_was_lost(
        self, emulator, store, folder, sleep, same_run
    ):
        errors = []
        async with claim(store, folder, on_lost=errors.append) as held:
            await held.confirm()
            self.take_over(emulator, folder, same_run=same_run)
            await held.confirm()  # it cannot have expired yet
            sleep()
            for _ in range(2):
                with pytest.raises(OutputClaimedError, match="process 7 on far"):
                    await held.confirm()
        assert len(errors) == 1

    @pytest.mark.usefixtures("no_checks")
    async def test_a_claim_that_nobody_has_taken_over_is_renewed_once(
        self, emulator, store, folder, sleep
    ):
        async with claim(store, folder) as held:
            since = len(emulator.calls)
            await held.confirm()
            assert operations(emulator, since) == []
            sleep()
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(held.confirm)
            assert operations(emulator, since) == ["PutObject"]

    @pytest.mark.usefixtures("no_checks")
    async def test_while_s3_is_busy_the_claim_is_not_valid(
        self, emulator, store, folder, monkeypatch, sleep
    ):
        async def too_busy(*_, **__):
            raise ThrottledError("busy")

        async with claim(store, folder) as held:
            sleep()
            with monkeypatch.context() as busy:
                busy.setattr(store, "put_small", too_busy)
                with pytest.raises(ThrottledError):
                    await held.confirm()
            since = len(emulator.calls)
            await held.confirm()
            assert operations(emulator, since) == ["PutObject"]

    async def test_a_clock_that_is_set_back_changes_nothing(self, monkeypatch):
        watch = stopwatch.Stopwatch()
        monkeypatch.setattr(stopwatch, "wall_clock", lambda: 0.0)
        assert 0 <= watch.seconds < 60
        with anyio.fail_after(30):
            await watch.wait(0.01)

    async def test_a_claim_that_is_renewed_just_then_is_not_deleted(
        self, store, folder, monkeypatch
    ):
        """Another process has found the claim when it had expired, and deletes it now."""
        monkeypatch.setattr(claims, "RENEWAL_INTERVAL", 0.02)
        where = folder.object(".cloudburst/claims/r.json")
        async with claim(store, folder):
            expired = await read_claim(store, where)
            with anyio.fail_after(30):
                while await read_claim(store, where) == expired:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            with pytest.raises(AWSError) as refused:
                await store.delete(where, etag=expired.etag)
            assert uncancelled.is_precondition_failed(refused.value)


@pytest.mark.parametrize("name", ["lost", "slow down", "dropped"])
async def test_renewals_survive_faults(emulator, store, folder, monkeypatch, name):
    monkeypatch.setattr(claims, "RENEWAL_INTERVAL", 0.05)
    monkeypatch.setattr(claims, "RENEWAL_RETRY", 0.05)
    where = folder.object(".cloudburst/claims/r.json")
    async with claim(store, folder):
        emulator.add_fault(s3_fault(name, "PutObject"))
        with anyio.fail_after(30):
            while (await read_claim(store, where)).claim.renewals < 3:  # noqa: ASYNC110
                await anyio.sleep(0.02)
    assert in_folder(emulator, folder) == []


async def test_a_claim_that_was_deleted_is_lost(emulator, store, folder):
    """Another process may have taken the run over, written its videos, and ended."""
    errors = []
    async with claim(store, folder, on_lost=errors.append) as held:
        async with claim(store, folder, resume=True):
            pass
        with pytest.raises(OutputClaimedError):
            await held.confirm(fresh=True)
        with pytest.raises(OutputClaimedError):
            await held.confirm()
    [error] = errors
    assert "claims/r.json is gone: another process has taken over the videos" in str(error)
    assert in_folder(emulator, folder) == []


async def test_before_an_object_is_replaced_the_claim_is_read(emulator, store, folder):
    """Resuming a run takes its claim over at once, long before it is renewed."""
    errors = []
    async with claim(store, folder, on_lost=errors.append) as held:
        since = len(emulator.calls)
        await held.confirm(fresh=True)
        assert operations(emulator, since) == ["GetObject"]
        abandon(emulator, folder, "r")
        await held.confirm()
        with pytest.raises(OutputClaimedError, match=r"process 7 on far.* has taken over"):
            await held.confirm(fresh=True)
    assert len(errors) == 1


async def test_a_claim_is_deleted_although_the_answer_to_a_renewal_is_missing(
    emulator, store, folder, monkeypatch
):
    monkeypatch.setattr(claims, "RENEWAL_INTERVAL", 0.01)
    put_small, renewed = store.put_small, anyio.Event()

    async def put_without_answer(location, data, **conditions):
        # With keys of KMS, the same content gets another ETag each time.
        await put_small(location, data + b" ", **conditions)
        renewed.set()
        await anyio.sleep_forever()

    async with claim(store, folder):
        monkeypatch.setattr(store, "put_small", put_without_answer)
        with anyio.fail_after(30):
            await renewed.wait()
    assert in_folder(emulator, folder) == []


async def test_a_lock_is_waited_for_and_taken_over(emulator, store, folder, monkeypatch):
    lock = abandon(emulator, folder, where=folder.object(".cloudburst/lock"))
    with monkeypatch.context() as short:
        short.setattr(claim_lock, "LOCK_TIMEOUT", 0.1)
        with pytest.raises(ConfigurationError, match="been locked"):
            async with claim(store, folder):
                pass
    assert b'"host": "far"' in content(emulator, lock), "it still belongs to the other process"
    monkeypatch.setattr(claim_file, "DATE_RESOLUTION", timedelta(seconds=-1))
    abandon(emulator, folder, where=lock, ttl=0)
    async with claim(store, folder):
        assert ".cloudburst/lock" not in in_folder(emulator, folder)


async def test_a_store_that_stays_busy_is_not_a_lock_of_other_processes(folder, monkeypatch):
    monkeypatch.setattr(claim_lock, "LOCK_TIMEOUT", 0.5)
    monkeypatch.setattr(request_waits, "TRANSFER_TIMEOUT", 0.2)
    with account() as other:  # its faults end with it
        other.add_fault(s3_fault("slow down", "PutObject", times=None))
        async with open_store(other) as busy:
            with pytest.raises(ThrottledError, match="SlowDown"):
                async with claim(busy, folder):
                    pass


async def test_a_lock_that_was_released_is_taken_again_while_the_store_is_busy(
    emulator, store, folder, caplog
):
    emulator.add_fault(s3_fault("slow down", "ListObjectsV2", times=4))
    emulator.add_fault(s3_fault("slow down", "PutObject", skip=2, times=4))
    async with claim(store, folder):
        pass
    assert "conditional writes" not in caplog.text
    assert in_folder(emulator, folder) == []


async def test_a_missing_bucket_is_not_a_lock_of_other_processes(store):
    with anyio.fail_after(30), pytest.raises(ResourceMissingError, match="bucket does not exist"):
        async with claim(store, S3Prefix("none-such", "a/")):
            pass


@pytest.mark.parametrize("date", ["", "Fri, 31 Dec 9999 23:59:59 GMT", "1 Jan 2026 00:00:00 -0000"])
async def test_claims_of_a_store_with_odd_dates_are_ignored(
    emulator, store, folder, monkeypatch, date
):
    abandon(emulator, folder)
    read = store.read

    async def read_dated(*args, **more):
        found = await read(*args, **more)
        return replace(found, info=replace(found.info, modified=date))

    monkeypatch.setattr(store, "read", read_dated)
    async with claim(store, folder):
        pass


async def test_the_clock_of_s3_decides_about_expiry(emulator, store, folder, monkeypatch):
    abandon(emulator, folder)
    read = store.read

    async def read_later(*args, **more):
        found = await read(*args, **more)
        answered = found.info.answered + timedelta(seconds=603)
        return replace(found, info=replace(found.info, answered=answered))

    with pytest.raises(OutputClaimedError):
        async with claim(store, folder):
            pass
    monkeypatch.setattr(store, "read", read_later)
    async with claim(store, folder):
        pass


@pytest.mark.parametrize("native", [False, True])
async def test_a_run_that_is_cancelled_after_any_call_leaves_nothing(
    emulator, store, folder, monkeypatch, native
):
    """The answer to a call has arrived, but the caller does not get it."""
    call = store.aws.call
    for at in range(1, 13):
        number, scope, tasks = 0, anyio.CancelScope(), []

        async def counted(*args, at=at, scope=scope, tasks=tasks, **more):
            nonlocal number
            number += 1
            now = number == at
            try:
                return await call(*args, **more)
            finally:
                if now:
                    cancel = tasks[0].cancel if native else scope.cancel
                    cancel()
                    await anyio.lowlevel.checkpoint()

        async def run(scope=scope):
            with scope:
                async with claim(store, folder):
                    await anyio.sleep(0.1)

        monkeypatch.setattr(store.aws, "call", counted)
        tasks.append(asyncio.create_task(run()))
        await asyncio.wait(tasks)
        monkeypatch.setattr(store.aws, "call", call)
        assert tasks[0].cancelled() == (native and number >= at), at
        assert in_folder(emulator, folder) == [], at
    assert number < at, "the last round had no call to be cancelled after"


async def test_errors_of_the_run_are_not_wrapped(store, folder):
    with pytest.raises(KeyError):
        async with claim(store, folder):
            raise KeyError


async def test_a_store_without_conditions_is_reported(emulator, store, folder, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    put_small = store.put_small

    async def unconditional(location, data, *, new=False, etag=None):
        assert new or etag is None
        return await put_small(location, data)

    monkeypatch.setattr(store, "put_small", unconditional)
    async with claim(store, folder):
        pass
    assert caplog.text.count("does not support conditional writes") == 1
    assert in_folder(emulator, folder) == []


def refuse_condition(monkeypatch, operation, header):
    """Let the store refuse a header of an operation."""
    check = api.check_conditions

    def refuse(request, current):
        if request.operation == operation and header.lower() in request.headers:
            raise not_implemented(header)
        check(request, current)

    monkeypatch.setattr(api, "check_conditions", refuse)


async def test_a_store_without_conditional_deletions(emulator, store, folder, caplog, monkeypatch):
    """The claim is deleted if it is still ours."""
    caplog.set_level(logging.WARNING)
    refuse_condition(monkeypatch, "DeleteObject", "If-Match")
    async with claim(store, folder):
        assert in_folder(emulator, folder) == [".cloudburst/claims/r.json"]
    assert in_folder(emulator, folder) == []
    assert not caplog.messages
    async with claim(store, folder):
        abandon(emulator, folder, "r")
    assert in_folder(emulator, folder) == [".cloudburst/claims/r.json"]
    assert not caplog.messages


@pytest.mark.parametrize("seed", SEEDS)
async def test_of_two_runs_exactly_one_holds_the_videos(emulator, store, folder, seed):
    """Faults may end both, but never let both in, and the next run gets the videos."""
    chance = random.Random(seed)
    for fault in s3_fault_mix(seed, ["PutObject", "GetObject", "ListObjectsV2", "DeleteObject"]):
        emulator.add_fault(fault)
    inside, most, entered, refused = 0, 0, 0, []

    async def run(name):
        nonlocal inside, most, entered
        await anyio.sleep(chance.random() * 0.05)
        try:
            async with claim(store, folder, run=name):
                inside, entered = inside + 1, entered + 1
                most = max(most, inside)
                await anyio.sleep(1.0)
                inside -= 1
        except CloudburstError as exc:
            refused.append(exc)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "one")
        tasks.start_soon(run, "two")
    assert most == 1
    assert (entered, len(refused)) == (1, 1), refused
    assert isinstance(refused[0], OutputClaimedError)


@pytest.mark.parametrize("seed", SEEDS)
async def test_runs_that_ignore_the_lock_are_never_both_let_in(store, folder, seed, monkeypatch):
    async def no_lock(_):
        pass

    monkeypatch.setattr(claim_lock.ClaimLock, "take", no_lock)
    chance, inside, most = random.Random(seed), 0, 0

    async def run(name):
        nonlocal inside, most
        await anyio.sleep(chance.random() * 0.02)
        with contextlib.suppress(OutputClaimedError):
            async with claim(store, folder, run=name):
                inside += 1
                most = max(most, inside)
                await anyio.sleep(0.2)
                inside -= 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "one")
        tasks.start_soon(run, "two")
    assert most <= 1


class TestDestination:
    async def test_an_empty_object_is_written_and_deleted(self, emulator, store, folder):
        found = await check_destination(store, folder)
        assert found.detail == "in us-east-1; it accepts objects"
        assert in_folder(emulator, folder) == []
        assert "not tried" in (await check_destination(store, folder, write=False)).detail

    async def test_a_missing_bucket_and_a_missing_permission_are_named(self):
        with account(denied=frozenset({"s3:PutObject"})) as emulator:
            async with open_store(emulator) as store:
                with pytest.raises(ResourceMissingError, match="s3://none-such/"):
                    await check_destination(store, S3Prefix("none-such", "a/"))
                with pytest.raises(AccessDeniedError, match="s3://videos/a/"):
                    await check_destination(store, S3Prefix("videos", "a/"))

    @pytest.mark.parametrize("check", [check_destination, check_accepted])
    @pytest.mark.parametrize("operation", ["PutObject", "DeleteObject"])
    async def test_a_check_that_is_cancelled_leaves_nothing(
        self, emulator, store, folder, check, operation
    ):
        await store.bucket_region(folder.bucket)
        emulator.add_fault(Fault(kind="delay", seconds=0.5, operation=f"s3:{operation}"))
        with anyio.move_on_after(0.25) as scope:
            await check(store, folder)
        assert scope.cancel_called
        assert in_folder(emulator, folder) == []

    async def test_a_store_that_reports_no_sha256_is_refused(
        self, emulator, store, folder, monkeypatch
    ):
        """Otherwise each scene would fail after it was rendered."""

        def without_checksums(stored, *, checksums):
            return object_headers(stored, checksums=False)

        monkeypatch.setattr(api, "object_headers", without_checksums)
        [fault] = await S3Destination(folder, store).find_faults(None)
        assert "does not report the SHA-256" in fault.found
        assert in_folder(emulator, folder) == []

    @pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
    async def test_a_store_that_refuses_conditions_is_refused(
        self, emulator, store, folder, monkeypatch, header
    ):
        refuse_condition(monkeypatch, "PutObject", header)
        with anyio.fail_after(30):
            [fault] = await S3Destination(folder, store).find_faults(None)
        assert f"not implemented by the emulator: {header} (" in fault.found
        assert "a store with conditional writes (If-None-Match and If-Match)" in fault.found
        assert in_folder(emulator, folder) == []

    async def test_a_lost_answer_is_survived(self, emulator, store, folder):
        emulator.add_fault(s3_fault("lost", "PutObject"))
        assert (await check_destination(store, folder)).tried
        assert in_folder(emulator, folder) == []

    async def test_the_folder_of_a_film_is_checked_as_well(self, store, folder):
        destination = S3Destination(folder, store)
        assert await destination.find_faults(folder.object("film.mp4")) == []
        missing = S3Prefix("none-such", "films/")
        [fault] = await destination.find_faults(missing.object("film.mp4"))
        assert fault.field == "film"
        assert fault.found.startswith("s3://none-such/")
        both = await S3Destination(missing, store).find_faults(folder.object("film.mp4"))
        assert [fault.field for fault in both] == ["to"]

    async def test_an_object_that_cannot_be_deleted_is_named(self, emulator, store, folder, caplog):
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


class TestObjectsOfOthers:
    """Anyone who may write to the folder may put anything in the place of claims."""

    async def test_objects_that_are_not_claims_are_ignored(self, emulator, store, folder, caplog):
        caplog.set_level(logging.WARNING)
        valid = {"run": "x", "owner": "o", "host": "h", "pid": 1, "names": ["a"], "ttl": 600}
        odd = {
            "text": b"not JSON",
            "list": b"[]",
            "deep": b"[" * 100_000,
            "numbers": json.dumps(valid)
            .encode()
            .replace(b'["a"]', b"[%s]" % b",".join([b"1"] * 9)),
            "many": json.dumps({**valid, "names": ["a"] * 200_001}).encode(),
            "year": json.dumps({**valid, "ttl": 10**12}).encode(),
            "pid": json.dumps(valid).encode().replace(b'"pid": 1', b'"pid": 1' + b"0" * 4000),
            "host": json.dumps({**valid, "host": "h" * 5000}).encode(),
            "large": b"[" + b" " * (8 * 1024**2),
        }
        for name, data in odd.items():
            put(emulator, folder.object(f".cloudburst/claims/{name}.json"), data)
        put(emulator, folder.object(".cloudburst/claims/r.json"), odd["large"])
        put(emulator, folder.object(".cloudburst/lock"), odd["large"])
        with anyio.fail_after(30):
            async with claim(store, folder):
                found = await read_claim(store, folder.object(".cloudburst/claims/r.json"))
                assert isinstance(found, FoundClaim)
        [first, *_] = [line for line in caplog.messages if "are ignored" in line]
        assert "deep.json" in first
        assert "and 5 more" in first
        left = in_folder(emulator, folder)
        assert left == [f".cloudburst/claims/{name}.json" for name in sorted(odd)]

    async def test_long_names_and_texts_are_not_repeated(self, emulator, store, folder):
        names = ("a", "n" * 5000, "\n")
        abandon(emulator, folder, "x" * 200 + "\x1b[2J", names=names)
        with pytest.raises(OutputClaimedError) as caught:
            async with claim(store, folder):
                pass
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500

    async def test_a_claim_that_is_overwritten_is_written_again(
        self, emulator, store, folder, monkeypatch
    ):
        monkeypatch.setattr(claims, "RENEWAL_INTERVAL", 0.05)
        where = folder.object(".cloudburst/claims/r.json")
        async with claim(store, folder):
            put(emulator, where, b"overwritten")
            with anyio.fail_after(30):
                while not isinstance(await read_claim(store, where), FoundClaim):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
        assert in_folder(emulator, folder) == []

    async def test_too_many_claims(self, emulator, store, folder, monkeypatch):
        monkeypatch.setattr(claim_checks, "MAX_CLAIMS", 2)
        for name in "xyz":
            abandon(emulator, folder, name, names=("z",))
        with pytest.raises(ConfigurationError, match=r"more than 2 claims are in s3://.*/claims/:"):
            async with claim(store, folder):
                pass
        assert len(in_folder(emulator, folder)) == 3, "neither lock nor claim is left"

    async def test_other_objects_in_the_folder_of_the_claims_do_not_count(
        self, emulator, store, folder, monkeypatch
    ):
        monkeypatch.setattr(claim_checks, "MAX_CLAIMS", 1)
        for name in ("x.mp4", "x.jpg", "json"):
            put(emulator, folder.object(f".cloudburst/claims/{name}"))
        async with claim(store, folder):
            pass

    async def test_a_list_without_an_end_and_one_that_takes_too_long(
        self, emulator, store, folder, monkeypatch
    ):
        call = store.aws.call

        async def endless(service, operation, **parameters):
            answer = await call(service, operation, **parameters)
            if operation == "list_objects_v2":
                answer |= {"IsTruncated": True, "NextContinuationToken": f"t{random.random()}"}
            return answer

        async def slow(service, operation, **parameters):
            if operation == "list_objects_v2":
                await anyio.sleep_forever()
            return await call(service, operation, **parameters)

        monkeypatch.setattr(claim_checks, "CHECK_TIMEOUT", 0.2)
        monkeypatch.setattr(request_waits, "TRANSFER_TIMEOUT", 0.2)
        for answers in (endless, slow):
            monkeypatch.setattr(store.aws, "call", answers)
            with (
                anyio.fail_after(30),
                pytest.raises(NoAnswerError, match=r"/claims/: the claims were not read within"),
            ):
                async with claim(store, folder):
                    pass
        monkeypatch.setattr(store.aws, "call", call)
        assert in_folder(emulator, folder) == []

    async def test_names_that_other_runs_could_not_read(self, emulator, store, folder):
        with pytest.raises(ConfigurationError, match="too long for a claim"):
            async with claim(store, folder, *["," * 400 + str(n) for n in range(600)]):
                pass
        assert in_folder(emulator, folder) == []


async def test_two_films_of_one_key(store, folder):
    """The second run is refused with the name of the first; other films are not refused."""
    async with claim(store, folder, "film", run="one", suffix=".film", covers=["film"]):
        with pytest.raises(OutputClaimedError, match=r"run one \(.*is writing .*film\.mp4"):
            async with claim(store, folder, "film", run="two", suffix=".film", overwrite=True):
                pass
        with pytest.raises(OutputClaimedError, match=r"run one \(.*is writing .*film\.mp4"):
            async with claim(store, folder, "film", run="two"):  # a video of this name
                pass
        async with (
            claim(store, folder, "other", run="one"),
            claim(store, folder, "another", run="two", suffix=".film"),
        ):
            pass


async def test_a_claim_that_appears_while_ours_is_written(emulator, store, folder, monkeypatch):
    """Another process has taken the lock after it expired, and works on the same run."""
    put_claim = claims._ClaimKeeper._put_claim

    async def late(keeper, etag):
        await anyio.to_thread.run_sync(abandon, emulator, folder, "r", ("z",))
        await put_claim(keeper, etag)

    monkeypatch.setattr(claims._ClaimKeeper, "_put_claim", late)
    with pytest.raises(OutputClaimedError, match=r"process 7 on far.*already works on this run"):
        async with claim(store, folder):
            pass


@pytest.mark.parametrize("resume", [True, False])
async def test_a_claim_that_is_renewed_while_it_is_replaced(
    emulator, store, folder, monkeypatch, resume
):
    """Only ``resume`` takes over the claim of a process that works on this run."""
    abandon(emulator, folder, "r", ttl=600 if resume else 0)
    put_claim, renewals = claims._ClaimKeeper._put_claim, iter((601, 602))

    async def late(keeper, etag):
        if (ttl := next(renewals, None)) is not None:
            await anyio.to_thread.run_sync(lambda: abandon(emulator, folder, "r", ttl=ttl))
        await put_claim(keeper, etag)

    monkeypatch.setattr(claims._ClaimKeeper, "_put_claim", late)
    monkeypatch.setattr(claim_file, "DATE_RESOLUTION", timedelta(seconds=-1))
    taken = claim(store, folder, resume=resume)
    if not resume:
        with pytest.raises(OutputClaimedError, match=r"process 7 on far.*already works"):
            await taken.__aenter__()
        return
    async with taken as held:
        await held.confirm()
    assert in_folder(emulator, folder) == []


async def test_a_claim_that_disappears_while_it_is_taken_over(emulator, store, folder, monkeypatch):
    """The process that works on the run ends just then."""
    abandon(emulator, folder, "r")
    put_claim = claims._ClaimKeeper._put_claim

    async def late(keeper, etag):
        if etag:
            await store.delete(keeper._object)
        await put_claim(keeper, etag)

    monkeypatch.setattr(claims._ClaimKeeper, "_put_claim", late)
    async with claim(store, folder, resume=True):
        assert in_folder(emulator, folder) == [".cloudburst/claims/r.json"]
    assert in_folder(emulator, folder) == []
