"""Wheels: download with pip, check of hashes, and reading."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from cloudburst.errors import ConfigurationError, ImageError
from cloudburst.image import programs, wheel_download
from cloudburst.image.cache import ImageCache
from cloudburst.image.entries import Entry
from cloudburst.image.layer_contents import LAYER_BYTES, distribute
from cloudburst.image.locked_packages import LOCK_FILE, read_lock
from cloudburst.image.wheel_contents import Wheel, read_wheel
from cloudburst.image.wheel_download import fetch_wheels, pip_command, platforms
from support.tiny_image import write_wheel, write_wheels

GLIBC = (2, 41)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    made = write_wheels(tmp_path / "wheels")
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    cache = ImageCache(tmp_path / "cache")
    cache.create()
    return made, read_lock(made.lock_file), cache


def fetch(lock, cache, architecture="amd64"):
    return anyio.run(fetch_wheels, lock, architecture, GLIBC, cache)


@pytest.mark.real
def test_wheels_of_each_architecture_are_downloaded_once(inputs, monkeypatch):
    _, lock, cache = inputs
    paths = fetch(lock, cache)
    assert [path.name.split("-")[0] for path in paths] == ["pure", "native"]
    assert paths[1].name.endswith("x86_64.whl")
    assert fetch(lock, cache, "arm64")[1].name.endswith("aarch64.whl")
    monkeypatch.setattr(wheel_download, "pip_command", lambda environ: ("missing",))
    assert fetch(lock, cache) == paths
    paths[0].unlink()
    with pytest.raises(ImageError, match="missing cannot be started"):
        fetch(lock, cache)


@pytest.mark.real
def test_a_wheel_with_another_hash_is_rejected(inputs):
    """By pip, and by us if pip did not."""
    made, lock, cache = inputs
    write_wheel(made.folder, "pure", "1.0", {"pure/__init__.py": "VALUE = 2\n"})
    with pytest.raises(
        ImageError, match=r"for amd64 cannot .*the file of pure==1.0 has another hash"
    ):
        fetch(lock, cache)
    folder = made.folder
    (folder / "native-2.0-cp313-cp313-manylinux_2_28_aarch64.whl").unlink()
    with pytest.raises(ImageError, match=r"pure-1.0-\S+ does not have one of the hashes"):
        wheel_download._checked(folder, lock.packages, "amd64")


@pytest.mark.real
def test_a_package_without_a_wheel_for_the_architecture_is_named(inputs):
    made, lock, cache = inputs
    (made.folder / "native-2.0-cp313-cp313-manylinux_2_28_aarch64.whl").unlink()
    with pytest.raises(ImageError, match=r"for arm64 cannot .*no wheel of native==2.0"):
        fetch(lock, cache, "arm64")
    assert list(cache.folder.glob("download-*")) == []


@pytest.mark.real
def test_a_cancelled_download_ends_all_its_processes(inputs, tmp_path, monkeypatch):
    _, lock, cache = inputs
    pids = tmp_path / "pids"
    script = tmp_path / "pip"
    script.write_text(
        f"#!/bin/sh\nsleep 60 &\necho $! $$ > {pids}.new\nmv {pids}.new {pids}\nwait\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(wheel_download, "pip_command", lambda environ: (str(script),))

    async def cancelled():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch_wheels, lock, "amd64", GLIBC, cache)
            while not pids.exists():  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    anyio.run(cancelled)
    deadline = time.monotonic() + 30
    while any(map(running, pids.read_text().split())):  # the system ends them soon
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(cache.folder.glob("download-*")) == []


@pytest.mark.real
def test_a_cancellation_during_the_start_ends_the_program(tmp_path, monkeypatch):
    pids = tmp_path / "pids"
    start = anyio.open_process

    async def slow_start(*arguments, **options):
        process = await start(*arguments, **options)
        while not pids.exists():  # noqa: ASYNC110 - another process writes it
            await anyio.sleep(0.01)
        scope.cancel()
        await anyio.sleep(0.01)
        return process

    monkeypatch.setattr(programs.anyio, "open_process", slow_start)
    script = f"sleep 60 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait"

    async def cancelled():
        nonlocal scope
        with anyio.CancelScope() as scope:
            await programs.run_program(["sh", "-c", script], seconds=30)

    scope = None
    anyio.run(cancelled)
    assert scope.cancelled_caught
    deadline = time.monotonic() + 30
    while any(map(running, pids.read_text().split())):  # the system ends them soon
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(pid):
    try:
        text = Path("/proc", pid, "stat").read_text()
        return text.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_pip_is_that_of_this_python_or_of_uv(monkeypatch, tmp_path):
    assert pip_command({}) == (sys.executable, "-m", "pip")
    monkeypatch.setattr(wheel_download.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    with pytest.raises(ImageError, match="neither pip nor uv"):
        pip_command({"PATH": str(tmp_path)})
    uv = tmp_path / "uv"
    uv.touch(mode=0o755)
    assert pip_command({"PATH": str(tmp_path)}) == (str(uv), "tool", "run", "--quiet", "pip")


def test_the_tags_are_those_of_the_base_and_older_ones():
    assert platforms("arm64", (2, 19)) == [
        *("manylinux_2_19_aarch64", "manylinux_2_18_aarch64", "manylinux_2_17_aarch64"),
        "manylinux2014_aarch64",
    ]


def test_the_lock_file_of_the_package_has_no_conditions():
    """pip would evaluate them for this machine, not for the image."""
    lock = read_lock()
    assert " ; " not in LOCK_FILE.read_text()
    assert {"av", "noto-cjk-sans-otc", "pillow", "pydantic-core"} <= {
        package.name for package in lock.packages
    }
    assert all(package.hashes for package in lock.packages)


@pytest.mark.parametrize(
    "line", ["pure==1.0", "pure>=1 --hash=sha256:00", "-e .", "pure @ http://x"]
)
def test_an_unexpected_line_of_a_lock_file_is_an_error(tmp_path, line):
    path = tmp_path / "lock"
    path.write_text(f"{line}\n")
    with pytest.raises(ConfigurationError, match="is not a name, a version and SHA-256 hashes"):
        read_lock(path)
    with pytest.raises(ConfigurationError, match="the lock file of the image: "):
        read_lock(tmp_path / "missing")


def test_data_of_a_wheel_is_installed_only_for_python(tmp_path):
    files = {
        "one-1.data/purelib/one/a.py": "",
        "one-1.data/scripts/run": "#!python",
        "one-1.data/headers/one.h": "",
        "one/b.py": "",
    }
    wheel = read_wheel(write_wheel(tmp_path, "one", "1", files), "site")
    names = {entry.path for entry in wheel.entries if "dist-info" not in entry.path}
    assert names == {"site/one/a.py", "site/one/b.py"}
    assert (wheel.name, wheel.version, wheel.licence) == ("one", "1", "MIT")


def made(name, *sizes):
    entries = tuple(Entry(path=f"{name}/{n}", packed_size=size) for n, size in enumerate(sizes))
    return Wheel(name, "1", "", entries, sum(sizes))


def test_layers_have_similar_sizes_and_each_file_once():
    large = made("large", *[LAYER_BYTES // 6] * 10)
    middle = made("middle", LAYER_BYTES - 1)
    small = [made("b", 100), made("a", 200)]
    parts = distribute([*small, middle, large])
    assert [part.name for part in parts] == ["large 1/2", "large 2/2", "middle", "packages"]
    assert parts[-1].wheels == ("b", "a")
    sizes = [sum(entry.packed_size for entry in part.entries) for part in parts[:2]]
    assert max(sizes) - min(sizes) <= LAYER_BYTES // 6
    paths = sorted(entry.path for part in parts for entry in part.entries)
    assert paths == sorted(e.path for wheel in (*small, middle, large) for e in wheel.entries)
    again = distribute([replace(large, entries=large.entries[::-1]), middle, *small])
    assert [{entry.path for entry in part.entries} for part in again[:2]] == [
        {entry.path for entry in part.entries} for part in parts[:2]
    ]
