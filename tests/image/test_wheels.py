"""Wheels: download with pip, check of hashes, and reading."""

from __future__ import annotations

import os
import stat
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from cloudburst.errors import ImageError
from cloudburst.image import wheel_download
from cloudburst.image.cache import ImageCache
from cloudburst.image.options import LOCK_FILE
from cloudburst.image.wheel_download import (
    download_arguments,
    fetch_wheels,
    last_errors,
    pip_command,
)
from cloudburst.image.wheels import (
    LAYER_BYTES,
    Wheel,
    WheelFile,
    distribute,
    read_entries,
    read_wheel,
)
from support.tiny_image import write_wheel, write_wheels


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    made = write_wheels(tmp_path / "wheels")
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    cache = ImageCache(tmp_path / "cache")
    cache.create()
    return made, made.lock_file, cache


def fetch(lock, cache, architecture="amd64"):
    return anyio.run(fetch_wheels, lock, architecture, cache)


@pytest.mark.real
def test_wheels_of_each_architecture_are_downloaded_once(inputs, monkeypatch):
    _, lock, cache = inputs
    paths = fetch(lock, cache)
    assert [path.name.split("-")[0] for path in paths] == ["native", "pure"]
    assert paths[0].name.endswith("x86_64.whl")
    assert fetch(lock, cache, "arm64")[0].name.endswith("aarch64.whl")
    monkeypatch.setattr(wheel_download, "pip_command", lambda environ: ("missing",))
    assert fetch(lock, cache) == paths
    lock.write_text(lock.read_text() + "# another list\n")
    with pytest.raises(ImageError, match="missing cannot be started"):
        fetch(lock, cache)


@pytest.mark.real
def test_a_wheel_with_another_hash_is_rejected(inputs):
    made, lock, cache = inputs
    write_wheel(made.folder, "pure", "1.0", {"pure/__init__.py": "VALUE = 2\n"})
    with pytest.raises(ImageError, match=r"for amd64 cannot .*HASHES FROM THE REQUIREMENTS"):
        fetch(lock, cache)
    assert list(cache.folder.glob("tmp/*")) == []
    assert not (cache.folder / "wheels").exists()


@pytest.mark.real
def test_a_package_without_a_wheel_for_the_architecture_is_named(inputs):
    made, lock, cache = inputs
    (made.folder / "native-2.0-cp313-cp313-manylinux_2_28_aarch64.whl").unlink()
    with pytest.raises(ImageError, match=r"for arm64 .*No matching distribution .* native==2.0"):
        fetch(lock, cache, "arm64")
    assert list(cache.folder.glob("tmp/*")) == []


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
            tasks.start_soon(fetch_wheels, lock, "amd64", cache)
            while not pids.exists():  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    anyio.run(cancelled)
    deadline = time.monotonic() + 30
    while any(map(running, pids.read_text().split())):  # the system ends them soon
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(cache.folder.glob("tmp/*")) == []


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

    monkeypatch.setattr(wheel_download.anyio, "open_process", slow_start)
    script = f"sleep 60 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait"

    async def cancelled():
        nonlocal scope
        with anyio.CancelScope() as scope:
            await wheel_download.run_program(["sh", "-c", script], os.environ)

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


def test_wheels_for_the_glibc_of_the_lock_file_and_older_ones_are_accepted(tmp_path):
    arguments = download_arguments(tmp_path / "lock", "arm64", tmp_path)
    tags = [one.partition("=")[2] for one in arguments if one.startswith("--platform=")]
    assert tags[0] == "manylinux_2_28_aarch64"
    assert tags[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            "a\nERROR: strange\x1b[31m thing\nb\n",
            "ERROR: strange\N{REPLACEMENT CHARACTER}[31m thing.",
        ),
        ("one\ntwo\nthree\nfour\n", "two three four."),
        ("", "pip printed nothing."),
    ],
)
def test_the_last_errors_of_pip_are_one_line(output, line):
    assert last_errors(output) == line


def test_the_lock_file_of_the_package_has_no_conditions():
    """pip would evaluate them for this machine, not for the image."""
    assert " ; " not in LOCK_FILE.read_text()


def test_data_of_a_wheel_is_installed_only_for_python(tmp_path):
    files = {
        "one-1.data/purelib/one/a.py": "",
        "one-1.data/scripts/run": "#!python",
        "one-1.data/headers/one.h": "",
        "one/b.py": "",
    }
    wheel = read_wheel(write_wheel(tmp_path, "one", "1", files))
    names = {file.path for file in wheel.files if "dist-info" not in file.path}
    assert names == {"one/a.py", "one/b.py"}
    assert wheel.name == "one"


def test_modes_are_those_of_pip(tmp_path):
    path = write_wheel(tmp_path, "one", "1", {"one/a.py": "x = 1\n"})
    with zipfile.ZipFile(path, "a") as archive:
        program = zipfile.ZipInfo("one/program")
        program.external_attr = (stat.S_IFREG | stat.S_ISUID | 0o777) << 16
        archive.writestr(program, "#!")
    wheel = read_wheel(path)
    found = {one.path.rpartition("/")[2]: one for one in read_entries(wheel.files)}
    assert (found["program"].mode, found["program"].data) == (0o755, b"#!")
    assert (found["a.py"].mode, found["a.py"].data) == (0o644, b"x = 1\n")


def test_a_damaged_wheel_is_an_error_that_says_what_to_delete(tmp_path):
    path = tmp_path / "one-1-py3-none-any.whl"
    path.touch()
    with pytest.raises(ImageError, match=rf"damaged: delete the folder {tmp_path}"):
        read_wheel(path)


def made(name, *sizes):
    path = Path(f"{name}-1-py3-none-any.whl")
    files = [WheelFile(path, str(n), f"{name}/{n}", 0o644, size) for n, size in enumerate(sizes)]
    return Wheel(name, tuple(files))


def test_layers_have_similar_sizes_and_each_file_once():
    large = made("large", *[LAYER_BYTES // 6] * 10)
    middle = made("middle", LAYER_BYTES - 1)
    small = [made("b", 100), made("a", 200)]
    parts = distribute([*small, middle, large])
    assert [part.name for part in parts] == ["large 1/2", "large 2/2", "middle", "packages"]
    sizes = [sum(file.size for file in part.files) for part in parts[:2]]
    assert max(sizes) - min(sizes) <= LAYER_BYTES // 6
    paths = sorted(file.path for part in parts for file in part.files)
    assert paths == sorted(one.path for wheel in (*small, middle, large) for one in wheel.files)
    again = distribute([replace(large, files=large.files[::-1]), middle, *small])
    assert [set(part.files) for part in again[:2]] == [set(part.files) for part in parts[:2]]
