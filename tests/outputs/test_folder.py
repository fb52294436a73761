"""Two runs never write one file, whoever they are and however they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from filelock import FileLock

from cloudburst.errors import ConfigurationError, OutputClaimedError, OutputExistsError
from cloudburst.outputs.folder import active_runs, claim_outputs, lock_inactive_runs

pytestmark = pytest.mark.anyio

HOLDER = """
import sys, anyio, pathlib
from cloudburst.outputs.folder import claim_outputs
async def main():
    folder, run, *names = sys.argv[1:]
    async with claim_outputs(pathlib.Path(folder), names, run=run, overwrite=False):
        print("held", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=pytest.mark.nightly)])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)  # threads and processes live by the real clock


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the names ``a`` and ``b`` in ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), "other", "a", "b"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_a_claim_file_that_cannot_be_removed_costs_no_run_its_report(tmp_path: Path) -> None:
    """The file system may have become one that can only be read, for which a folder stands."""
    claim_file = tmp_path / ".cloudburst" / "run.json"
    async with claim_outputs(tmp_path, ["a"], run="run", overwrite=False):
        claim_file.unlink()
        claim_file.mkdir()
        assert list(active_runs(tmp_path)) == ["run"]
    assert not active_runs(tmp_path)


async def test_names_are_written_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    async with claim_outputs(folder, ["a", "場景"], run="r1", overwrite=False):
        (claim_file,) = folder.glob(".cloudburst/*.json")
        data = json.loads(claim_file.read_text())
        assert data["names"] == ["a", "場景"]
        assert data["pid"] == os.getpid()
    assert everything(tmp_path) == ["new", "new/out"]


async def test_covers_are_claimed_with_their_videos(tmp_path: Path) -> None:
    """Only those of the scenes that have one: another program may have written the others."""
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    async with claim_outputs(tmp_path, ["b"], run="r0", overwrite=False):
        pass
    with pytest.raises(OutputExistsError, match=r"videos already exist: .*a\.jpg") as caught:
        async with claim_outputs(tmp_path, ["a", "b"], run="r1", overwrite=False, covers=["a"]):
            pass
    assert caught.value.paths == (tmp_path / "a.jpg",)
    async with claim_outputs(tmp_path, ["a"], run="r2", overwrite=True, covers=["a"]):
        assert (tmp_path / "a.jpg").exists(), "it is replaced when the new one is complete"


async def test_incomplete_covers_of_a_killed_process_are_removed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    for name in ("a.mp4.part", "a.jpg.part", "other.jpg.part"):
        (tmp_path / name).touch()
    holder.kill()
    await anyio.to_thread.run_sync(holder.wait)
    async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=False, covers=["a"]):
        partial = [name for name in everything(tmp_path) if name.endswith(".part")]
        assert partial == ["other.jpg.part"]


async def test_relative_folders_count_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with claim_outputs(Path("out"), ["a"], run="r1", overwrite=False):
        assert "out/.cloudburst/r1.json" in everything(tmp_path)
        monkeypatch.chdir("/")
    assert everything(tmp_path) == ["out"]


async def test_a_name_of_another_run_in_this_process_is_refused(tmp_path: Path) -> None:
    async with claim_outputs(tmp_path, ["Straße", "b"], run="r1", overwrite=False):
        async with claim_outputs(tmp_path, ["c"], run="r2", overwrite=False):
            with pytest.raises(OutputClaimedError) as caught:
                async with claim_outputs(tmp_path, ["STRASSE", "B", "d"], run="r3", overwrite=True):
                    pytest.fail("must not get here")
        assert caught.value.paths == (tmp_path / "STRASSE.mp4", tmp_path / "B.mp4")
        assert str(os.getpid()) in caught.value.holder
        async with claim_outputs(tmp_path, ["d"], run="r3", overwrite=False):
            pass  # the refused run holds nothing
    async with claim_outputs(tmp_path, ["b"], run="r4", overwrite=False):
        pass
    assert everything(tmp_path) == []


async def test_a_name_of_another_process_is_refused_until_it_ends(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(OutputClaimedError) as caught:
        async with claim_outputs(tmp_path, ["a", "x"], run="r1", overwrite=False):
            pytest.fail("must not get here")
    assert caught.value.holder.startswith(f"process {holder.pid} on ")
    holder.send_signal(signal.SIGINT)
    await anyio.to_thread.run_sync(holder.wait)
    assert everything(tmp_path) == []


async def test_a_killed_run_is_cleaned_up_by_the_next(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    for name in ("a.mp4.part", "b.mp4", "unrelated.mp4.part"):
        (tmp_path / name).touch()
    holder.kill()
    await anyio.to_thread.run_sync(holder.wait)
    assert (tmp_path / ".cloudburst" / "other.json").exists()
    async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=False):
        assert ".cloudburst/other.json" not in everything(tmp_path)
        assert not (tmp_path / "a.mp4.part").exists()
    assert everything(tmp_path) == ["b.mp4", "unrelated.mp4.part"]


async def test_a_stale_claim_file_removes_nothing_outside_its_folder(tmp_path: Path) -> None:
    home = tmp_path / "out" / ".cloudburst"
    home.mkdir(parents=True)
    (tmp_path / "mine.mp4.part").touch()
    (home / "evil.json").write_text('{"names": ["../mine"], "pid": 1, "host": ""}')
    (home / "half.json").write_text('{"names": ["a')
    async with claim_outputs(tmp_path / "out", ["a"], run="r1", overwrite=False):
        pass
    assert everything(tmp_path) == ["mine.mp4.part", "out"]


async def test_videos_that_exist_are_named_all(tmp_path: Path) -> None:
    names = [f"v{n}" for n in range(8)]
    for name in names:
        (tmp_path / f"{name}.mp4").touch()
    with pytest.raises(OutputExistsError) as caught:
        async with claim_outputs(tmp_path, [*names, "new"], run="r1", overwrite=False):
            pytest.fail("must not get here")
    assert caught.value.paths == tuple(tmp_path / f"{name}.mp4" for name in names)
    assert "and 3 more" in str(caught.value)
    assert not (tmp_path / ".cloudburst").exists()
    async with claim_outputs(tmp_path, names, run="r1", overwrite=True):
        pass


async def test_a_folder_in_the_way_cannot_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OutputExistsError, match="folders have the names of videos"):
        async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=True):
            pytest.fail("must not get here")


@pytest.mark.parametrize("folder", ["file", "file/below", "taken", "\0", "x" * 300])
async def test_a_folder_that_cannot_be(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / ".cloudburst").touch()
    with pytest.raises(ConfigurationError, match="videos cannot be written to"):
        async with claim_outputs(tmp_path / folder, ["a"], run="r1", overwrite=False):
            pytest.fail("must not get here")


@pytest.mark.parametrize("there", [True, False])
async def test_nothing_is_written_through_a_symbolic_link(tmp_path: Path, there: bool) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    if there:
        elsewhere.mkdir()
        (elsewhere / "old.json").write_text("{}")
    (out / ".cloudburst").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError) as caught:
        async with claim_outputs(out, ["a"], run="r1", overwrite=True):
            pytest.fail("must not get here")
    assert f"{out}/.cloudburst is a symbolic link; expected a folder" in str(caught.value)
    assert "choose another folder" in str(caught.value)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        active_runs(out)
    with pytest.raises(ConfigurationError, match="symbolic link"), lock_inactive_runs(out, ["old"]):
        pytest.fail("must not get here")
    expected = ["elsewhere", "elsewhere/old.json"] if there else []
    assert everything(tmp_path) == [*expected, "out", "out/.cloudburst"]


async def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".cloudburst").touch()
    with pytest.raises(ConfigurationError) as caught:
        async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=True):
            pytest.fail("must not get here")
    assert f"{tmp_path}/.cloudburst is not a folder" in str(caught.value)
    with pytest.raises(ConfigurationError, match="is not a folder"):
        active_runs(tmp_path)


@pytest.mark.parametrize("name", ["lock", "other.lock"])
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
async def test_a_lock_that_is_no_file_is_named(tmp_path: Path, name: str, kind: str) -> None:
    home, victim = tmp_path / "out" / ".cloudburst", tmp_path / "victim"
    home.mkdir(parents=True)
    (home / "other.json").write_text("{}")
    victim.write_text("precious")
    match kind:
        case "link":
            (home / name).symlink_to(victim)
        case "folder":
            (home / name).mkdir()
        case _:
            os.mkfifo(home / name)
    with pytest.raises(ConfigurationError, match=f"{home}/{name}: not a regular file"):
        async with claim_outputs(tmp_path / "out", ["a"], run="r1", overwrite=True):
            pytest.fail("must not get here")
    assert active_runs(tmp_path / "out") == {}
    assert victim.read_text() == "precious"


CLAIM_FILES = {
    "nested": "[" * 200_000,
    "a long number": '{"names": ["a"], "host": "h", "pid": ' + "9" * 5000 + "}",
    "infinite": '{"names": ["a"], "host": "h", "pid": Infinity}',
    "names of numbers": '{"names": [1], "host": "h", "pid": 1}',
    "no UTF-8": b"\xff\xfe\x00",
    "no object": "[1, 2, 3]",
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "link": lambda path: path.symlink_to(path.parents[2] / "victim"),
    "dangling link": lambda path: path.symlink_to(path.parents[2] / "none"),
}


@pytest.mark.few(20, spread=True)
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("what", CLAIM_FILES)
async def test_no_claim_file_stops_the_runs_of_a_folder(
    tmp_path: Path, what: str, held: bool
) -> None:
    home, claim_file, victim = (
        tmp_path / "out" / ".cloudburst",
        CLAIM_FILES[what],
        tmp_path / "victim",
    )
    home.mkdir(parents=True)
    victim.write_text("precious")
    planted = home / "r.json"
    if callable(claim_file):
        claim_file(planted)
    else:
        planted.write_bytes(claim_file if isinstance(claim_file, bytes) else claim_file.encode())
    with FileLock(home / "r.lock") if held else nullcontext():
        async with claim_outputs(tmp_path / "out", ["a"], run="r1", overwrite=False):
            told = await anyio.to_thread.run_sync(active_runs, tmp_path / "out")
    assert told.keys() == ({"r", "r1"} if held else {"r1"})
    assert told.get("r", "an unknown process") == "an unknown process"
    assert victim.read_text() == "precious"
    assert not (tmp_path / "none").exists()


async def test_the_host_of_a_claim_file_is_shown_without_control_characters(tmp_path: Path) -> None:
    (tmp_path / ".cloudburst").mkdir()
    claim_file = tmp_path / ".cloudburst" / "r.json"
    claim_file.write_text('{"names": ["a"], "host": "\\u001b[2J", "pid": 1}')
    with FileLock(claim_file.with_suffix(".lock")):
        assert active_runs(tmp_path) == {"r": "process 1 on \N{REPLACEMENT CHARACTER}[2J"}


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be read only."""
    (tmp_path / ".cloudburst").mkdir()
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_to(sealed: Path) -> None:
    with pytest.raises(ConfigurationError, match="Permission denied"):
        async with claim_outputs(sealed, ["a"], run="r1", overwrite=False):
            pytest.fail("must not get here")


async def test_many_runs_in_many_threads_get_a_name_one_at_a_time(
    tmp_path: Path, anyio_backend_name: str
) -> None:
    inside, most, got = 0, 0, 0
    guard = threading.Lock()

    async def once(run: str) -> None:
        nonlocal inside, most, got
        while True:
            try:
                async with claim_outputs(tmp_path, ["a"], run=run, overwrite=False):
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    await anyio.sleep(0.002)
                    with guard:
                        inside -= 1
                        got += 1
                    return
            except OutputClaimedError:
                await anyio.sleep(0.002)

    async def several(thread: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(once, f"{thread}-{number}")

    threads = [
        threading.Thread(
            target=anyio.run, args=(several, n), kwargs={"backend": anyio_backend_name}
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    assert (most, got) == (1, 16)
    assert everything(tmp_path) == []


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize("delay", [0, 0.0005, 0.001, 0.002, 0.004, 0.008])
async def test_cancelled_at_any_time_it_holds_nothing(tmp_path: Path, delay: float) -> None:
    for _ in range(20):
        with anyio.move_on_after(delay):
            async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=False):
                await anyio.sleep_forever()
        assert everything(tmp_path) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("ticks", range(12))
async def test_asyncio_cancels_twice_and_it_holds_nothing(tmp_path: Path, ticks: int) -> None:
    async def hold() -> None:
        async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=False):
            await anyio.sleep_forever()

    task = asyncio.ensure_future(hold())
    for _ in range(ticks):
        await asyncio.sleep(0.0004)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert everything(tmp_path) == []
    async with claim_outputs(tmp_path, ["a"], run="r2", overwrite=False):
        pass


async def test_a_folder_lock_that_nobody_lets_go_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudburst.outputs.folder._FOLDER_LOCK_TIMEOUT", 0.2)
    (tmp_path / ".cloudburst").mkdir()
    lock = FileLock(tmp_path / ".cloudburst" / "lock", thread_local=False)
    with lock, pytest.raises(ConfigurationError, match="locked by another process"):
        async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=False):
            pytest.fail("must not get here")


async def test_claims_name_their_runs(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    async with claim_outputs(tmp_path, ["c"], run="mine", overwrite=False):
        told = await anyio.to_thread.run_sync(active_runs, tmp_path)
        assert told.keys() == {"other", "mine"}
        assert told["other"].startswith(f"process {holder.pid} on ")
    holder.kill()
    holder.wait()
    assert await anyio.to_thread.run_sync(active_runs, tmp_path) == {}
    async with claim_outputs(tmp_path, ["a"], run="next", overwrite=False):
        assert (tmp_path / ".cloudburst" / "next.json").exists()
        assert not (tmp_path / ".cloudburst" / "other.json").exists()


async def test_an_empty_folder_has_no_claims(tmp_path: Path) -> None:
    assert await anyio.to_thread.run_sync(active_runs, tmp_path / "nothing") == {}
    assert await anyio.to_thread.run_sync(active_runs, tmp_path) == {}
    assert everything(tmp_path) == []


async def test_telling_who_holds_what_disturbs_no_run_that_begins(tmp_path: Path) -> None:
    begun = 0

    def tell() -> None:
        while begun < 50:
            active_runs(tmp_path)

    async with (
        claim_outputs(tmp_path, ["always"], run="always", overwrite=False),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(anyio.to_thread.run_sync, tell)
        for number in range(50):
            async with claim_outputs(tmp_path, ["a"], run=f"r{number}", overwrite=False):
                begun += 1


async def test_locked_inactive_runs_cannot_begin_meanwhile(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    assert holder.poll() is None
    with lock_inactive_runs(tmp_path, ["other", "r1"]) as ours:
        assert ours == ["r1"]
        assert (tmp_path / ".cloudburst" / "r1.lock").exists()
        with anyio.move_on_after(0.3) as waiting:
            async with claim_outputs(tmp_path, ["x"], run="r1", overwrite=False):
                pytest.fail("must not get here")
        assert waiting.cancelled_caught
        with lock_inactive_runs(tmp_path, ["r2"]) as theirs:
            assert theirs == []
    assert not (tmp_path / ".cloudburst" / "r1.lock").exists()
    async with claim_outputs(tmp_path, ["x"], run="r1", overwrite=False):
        pass
