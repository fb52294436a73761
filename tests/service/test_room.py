"""The part of the disk that uploads leave free for the videos."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest

from support.service_caller import Caller, OpenCaller

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
DISK, RESERVE = 40 * MB, 10 * MB


@contextmanager
def small_disk(to: Caller) -> Generator[list[int]]:
    """A disk that holds little beside the reserve; the list is all that it ever had free."""
    seen = [DISK]

    def usage(folder: Path) -> SimpleNamespace:
        used = 0
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):  # deleted since it was listed
                used += path.stat().st_size if path.is_file() else 0
        seen.append(DISK - used)
        return SimpleNamespace(free=seen[-1])

    to.service.store._reserve = RESERVE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", usage)
        yield seen
    usage(to.service.folder / "files")


async def put_slowly(to: Caller, number: int, size: int, *, announced: bool) -> int:
    """Upload random bytes in pieces; the status of the answer."""
    data = random.Random(number).randbytes(size)

    async def pieces() -> AsyncGenerator[bytes]:
        for at in range(0, size, MB):
            yield data[at : at + MB]
            await anyio.lowlevel.checkpoint()

    answer = await to.http.put(
        f"/files/{hashlib.sha256(data).hexdigest()}",
        content=pieces(),
        headers={"Content-Length": str(size)} if announced else {},
    )
    return answer.status_code


@pytest.mark.parametrize("announced", [True, False])
async def test_uploads_at_once_leave_the_reserve_free(
    caller: OpenCaller, *, announced: bool
) -> None:
    """Each may have written one block more, because all may have checked at the same time."""
    async with caller() as to:
        statuses: list[int] = []

        async def put(number: int) -> None:
            statuses.append(await put_slowly(to, number, 12 * MB, announced=announced))

        with small_disk(to) as free:
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(put, number)
        assert set(statuses) <= {201, 507}
        assert 507 in statuses
        assert min(free) >= RESERVE - 4 * MB
        stored = [path.split("/")[0] for path in to.files()]
        assert stored == ["files"] * statuses.count(201)


async def test_a_body_without_a_length_stops_at_the_reserve(caller: OpenCaller) -> None:
    async with caller() as to:
        with small_disk(to) as free:
            assert await put_slowly(to, 1, 60 * MB, announced=False) == 507
        assert min(free) >= RESERVE
        assert to.files() == []


async def test_a_deleted_file_is_room_again(caller: OpenCaller) -> None:
    async with caller() as to:
        with small_disk(to):
            for number in range(3):
                assert await put_slowly(to, number, 15 * MB, announced=True) in {201, 507}
                to.service.store._contents.clear()
                for path in (to.service.folder / "files").iterdir():
                    path.unlink()
            assert await put_slowly(to, 9, 25 * MB, announced=True) == 201
