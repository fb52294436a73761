"""Worker processes on this machine: the real service and real signals."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from cloudburst import Limits, Timeouts, local
from cloudburst.errors import (
    CapacityError,
    ConfigurationError,
    EncodeError,
    LaunchError,
    WorkerError,
)
from cloudburst.models.scene import Scene
from cloudburst.models.task import LaunchRequest, Secrets, TaskSpec, TaskState
from cloudburst.models.tier import Tier, encoder_slots
from cloudburst.service.cpu import usable_cores
from cloudburst.workers import local as local_package
from cloudburst.workers.local import backend as processes
from cloudburst.workers.local import worker_process as worker_module
from cloudburst.workers.local.backend import (
    DEFAULT_MAX_WORKERS,
    SERVICE_COMMAND,
    choose_worker_counts,
    open_local_backend,
)
from support.checked_scenes import as_checked

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SAY = "import sys; print('listening on http://127.0.0.1:1', flush=True)"
WAIT = f"{SAY}; sys.stdin.read()"
"""Ends with its parent, as the service does, and starts faster."""
MARK = "LC_MARK_OF_A_TEST"
"""Workers get no variables but a few, among them all that begin so."""


def request(token="t", key="k-77"):
    return LaunchRequest(spec=TaskSpec(), token=token, secrets=Secrets(key=key))


def opened(folder, script=WAIT, **changes):
    settings = {"workers": 2, "encoders": 1, "timeouts": Timeouts(), "required_modules": ()}
    command = (sys.executable, "-c", script)
    return open_local_backend(folder=folder, **{**settings, "command": command, **changes})


async def until(launcher, task, state):
    with anyio.fail_after(15):
        while (status := await launcher.describe(task)).state is not state:  # noqa: ASYNC110 - a process rings no bell
            await anyio.sleep(0.01)
    return status


def marked():
    """Processes that carry our mark in their environment, with their command lines."""
    wanted = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and wanted in environment(folder):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
    found.pop(os.getpid(), None)
    return found


def environment(folder):
    """Variables of a process; of a service, which only root can read, ours if it is our child."""
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except PermissionError:
        ours = f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text()
        return [f"{MARK}={os.environ[MARK]}".encode()] if ours else []


@pytest.fixture(autouse=True)
def nothing_survives(monkeypatch):
    monkeypatch.setenv(MARK, f"{os.getpid()}-{time.monotonic_ns()}")
    yield
    end = time.monotonic() + 20  # what was killed takes a moment to be gone on a busy machine
    while marked() and time.monotonic() < end:
        time.sleep(0.05)
    assert not marked()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    return place


async def test_the_service_serves_on_loopback_with_its_key(folder):
    async with local(workers=1, folder=folder)(Timeouts(), Tier.STANDARD) as backend:
        assert (backend.name, backend.capacity) == ("local", 1)
        task = await backend.launcher.launch(request())
        assert (await backend.launcher.describe(task)).state is TaskState.STARTING
        address = (await until(backend.launcher, task, TaskState.RUNNING)).address
        assert address.startswith("http://127.0.0.1:")
        ours = {pid for pid, command in marked().items() if b"cloudburst.service" in command}
        assert listening(address) == {"0100007F"}
        # A child of the service has the same command until it executes its own.
        assert {os.getsid(pid) for pid in ours} <= ours, "Ctrl-C in a terminal would reach them"
        async with backend.connect(address, secrets=Secrets(key="k-77")) as renderer:
            while not await renderer.is_healthy():  # noqa: ASYNC110 - it starts
                await anyio.sleep(0.1)
        async with backend.connect(address, secrets=Secrets(key="wrong")) as renderer:
            scene = Scene(name="s", image=__file__, audio=__file__)
            with pytest.raises(WorkerError, match="refused the key"):
                await renderer.upload(as_checked(scene))
        began = time.monotonic()
        await backend.launcher.stop(task, reason="enough")
        await backend.launcher.stop(task, reason="more than enough")
        status = await until(backend.launcher, task, TaskState.STOPPED)
        assert status.reason == "enough (exit code 0)"
        assert time.monotonic() - began < 2
    assert not list(folder.iterdir()), "neither logs nor files are left when all went well"


def listening(url):
    """Addresses, as the kernel writes them, on which somebody listens at a URL's port."""
    port = f"{int(url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    places = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {address for address, at in places if at == port}


async def test_a_worker_gets_no_credentials_of_ours(folder, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("DATABASE_URL", "secret")
    script = "import os, sys; print('listening on', *os.environ, flush=True); sys.stdin.read()"
    monkeypatch.setenv("CLOUDBURST_PORT", "1")  # of whatever else is here
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    async with opened(folder, script) as backend:
        task = await backend.launcher.launch(request())
        names = (await until(backend.launcher, task, TaskState.RUNNING)).address.split()
    assert {"MALLOC_ARENA_MAX", "CLOUDBURST_PORT", "PATH"} <= set(names)
    assert not {"AWS_SECRET_ACCESS_KEY", "DATABASE_URL"} & set(names)


async def test_a_repeated_request_starts_nothing_new(folder):
    async with opened(folder) as backend:
        tasks = []

        async def launch(token):
            tasks.append(await backend.launcher.launch(request(token)))

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(launch, f"t{number % 2}")
        assert len(set(tasks)) == 2
        for _ in range(100):  # a process that starts shows its variables a moment later
            if len(marked()) == 2:
                break
            await anyio.sleep(0.05)
        assert len(marked()) == 2
        with pytest.raises(CapacityError, match="2 workers"):
            await launch("t3")
        await launch("t1")
        await backend.launcher.stop(tasks[0], reason="done")
        await launch("t4")
        assert len(set(tasks)) == 3


async def test_only_the_latest_ended_workers_are_remembered(folder, monkeypatch):
    """A client may be open for weeks."""
    monkeypatch.setattr(processes, "MAX_ENDED_WORKERS", 2)
    async with opened(folder, "pass") as backend:
        launcher, tasks = backend.launcher, []
        for number in range(6):
            tasks.append(await launcher.launch(request(f"t{number}")))
            await until(launcher, tasks[-1], TaskState.STOPPED)
        told = [(await launcher.describe(task)).reason for task in tasks]
        known = [reason != "not a worker of this backend" for reason in told]
        assert known == [False, False, False, True, True, True]
        assert await launcher.launch(request("t5")) == tasks[5]
        assert await launcher.post_mortem(tasks[0]) is None
        assert len(launcher._by_task) == len(launcher._by_token) == len(launcher._requests) == 3


async def test_the_status_of_a_killed_worker(folder):
    script = f"import sys; print('last words', file=sys.stderr, flush=True); {WAIT}"
    async with opened(folder, script) as backend:
        task = await backend.launcher.launch(request())
        await until(backend.launcher, task, TaskState.RUNNING)
        os.kill(next(iter(marked())), signal.SIGKILL)
        status = await until(backend.launcher, task, TaskState.STOPPED)
        assert "killed by SIGKILL" in status.reason
        assert "last words" in status.reason
        assert await backend.launcher.launch(request()) == task
    (log,) = folder.rglob("*.log")
    assert log.read_text() == "last words\n"
    assert str(log) in status.reason


async def test_the_reason_of_a_failed_start(folder):
    async with opened(
        folder, "import sys; print('x\\n' * 99, 'no font found'); sys.exit('bad')"
    ) as backend:
        task = await backend.launcher.launch(request())
        status = await until(backend.launcher, task, TaskState.STOPPED)
    assert "exit code 1" in status.reason
    assert status.reason.endswith("bad")
    assert status.reason.count("\n") <= worker_module.TAIL_LINES
    assert status.address is None


async def test_other_output_does_not_matter(folder):
    chatter = "print('x' * 100_000); print('listening on nothing'[:9]);"
    async with opened(
        folder, f"{chatter} {SAY}; print('y' * 1_000_000); sys.stdin.read()"
    ) as backend:
        task = await backend.launcher.launch(request())
        status = await until(backend.launcher, task, TaskState.RUNNING)
        assert status.address == "http://127.0.0.1:1"
        await backend.launcher.stop(task, reason="done")
        status = await until(backend.launcher, task, TaskState.STOPPED)


@pytest.mark.nightly
async def test_the_services_own_refusal_reaches_the_reason(folder):
    async with open_local_backend(
        workers=1, encoders=999, folder=folder, timeouts=Timeouts(), command=SERVICE_COMMAND
    ) as backend:
        task = await backend.launcher.launch(request())
        status = await until(backend.launcher, task, TaskState.STOPPED)
    assert "exit code 2" in status.reason
    assert "encoders" in status.reason
    assert "k-77" not in status.reason


async def test_a_worker_that_ignores_sigterm_is_killed_with_its_group(folder, monkeypatch):
    monkeypatch.setattr(worker_module, "TERMINATE_TIMEOUT", 0.3)
    stubborn = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"subprocess.Popen(['sleep', '60']); {SAY}; signal.pause()"
    )
    async with opened(folder, stubborn) as backend:
        task = await backend.launcher.launch(request())
        await until(backend.launcher, task, TaskState.RUNNING)
        assert len(marked()) == 2
        await backend.launcher.stop(task, reason="done")
        status = await until(backend.launcher, task, TaskState.STOPPED)
    assert "done (killed by SIGKILL)" in status.reason


async def test_a_command_that_cannot_be_started(folder):
    async with opened(folder, command=["/nowhere/python"]) as backend:
        for _ in range(2):
            with pytest.raises(
                LaunchError, match="/nowhere/python cannot be started: No such file"
            ):
                await backend.launcher.launch(request())
    assert not list(folder.iterdir())


async def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LaunchError, match="files cannot be created"):
        async with opened(tmp_path / "file"):
            pass


async def test_a_missing_kernel_is_named_before_anything_starts(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(local_package, "LIBRARIES", tmp_path)
    with pytest.raises(ConfigurationError, match="install a C compiler or the package ziglang"):
        async with opened(folder, required_modules=["json"]):
            pass


async def test_the_extra_is_named_when_it_is_missing(folder):
    with pytest.raises(
        ConfigurationError, match=r"no_such_module missing; pip install 'cloudburst-sdk\[local\]'"
    ):
        async with opened(folder, required_modules=["json", "no_such_module"]):
            pass


@pytest.mark.parametrize("counts", [{"workers": 0}, {"encoders": 0}, {"workers": -1}])
def test_counts_are_checked_at_once(counts):
    with pytest.raises(ConfigurationError):
        local(**counts)


@pytest.mark.parametrize("cores", [1, 2, 7, 16])
def test_one_worker_has_a_slot_for_each_core(cores):
    assert choose_worker_counts(None, None, cores=cores) == (1, cores)


@pytest.mark.parametrize(
    ("workers", "encoders", "expected"),
    [(2, None, (2, 4)), (3, None, (3, 3)), (None, 3, (3, 3)), (None, 1, (4, 1)), (9, 9, (9, 9))],
)
def test_encoders_that_are_not_set_get_the_other_cores(workers, encoders, expected):
    assert choose_worker_counts(workers, encoders, cores=8) == expected


@given(
    cores=st.integers(1, 256),
    workers=st.none() | st.integers(1, 300),
    encoders=st.none() | st.integers(1, 300),
)
def test_no_core_is_left_idle_and_what_was_asked_for_is_kept(cores, workers, encoders):
    some, each = choose_worker_counts(workers, encoders, cores=cores)
    assert some == workers if workers else 1 <= some <= DEFAULT_MAX_WORKERS
    assert each == encoders if encoders else each >= 1
    if encoders is None:
        assert some * each >= cores
    if workers is None:
        assert (some - 1) * each < cores  # the last one has something to do too


async def test_the_default_is_a_slot_for_each_core(folder):
    async with opened(folder, workers=None, encoders=None) as backend:
        slots = encoder_slots(usable_cores())
        assert slots <= backend.capacity * backend.encoder_slots < slots + backend.capacity
        assert (backend.queues_jobs, backend.shares_uplink) == (True, False)


async def test_an_unknown_task(folder):
    async with opened(folder) as backend:
        assert (await backend.launcher.describe("local-x")).state is TaskState.STOPPED
        await backend.launcher.stop("local-x", reason="?")
    with pytest.raises(LaunchError, match="closed"):
        await backend.launcher.launch(request())


async def test_an_error_of_the_caller_is_raised_unchanged(folder):
    async def use():
        async with opened(folder) as backend:
            await backend.launcher.launch(request())
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await use()


@pytest.mark.parametrize("moment", [0, 0.001, 0.003, 0.01, 0.1])
async def test_a_launch_that_a_scope_cancels_is_found_by_its_token(folder, moment):
    async with opened(folder) as backend:
        with anyio.move_on_after(moment):
            await backend.launcher.launch(request())
        task = await backend.launcher.launch(request())
        await until(backend.launcher, task, TaskState.RUNNING)
        assert len(marked()) == 1
        await backend.launcher.stop(task, reason="done")
        await until(backend.launcher, task, TaskState.STOPPED)
        assert not marked()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("moment", [0, 0.001, 0.003, 0.01])
async def test_a_launch_that_asyncio_cancels_is_ended_by_the_backend(folder, moment):
    async with opened(folder) as backend:
        launch = asyncio.get_running_loop().create_task(backend.launcher.launch(request()))
        await asyncio.sleep(moment)
        launch.cancel()
        await asyncio.wait([launch])
    assert not list(folder.iterdir())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("moment", [0, 0.003, 0.02, 0.06, 0.2])
async def test_asyncio_cancels_the_whole_backend(folder, moment, everything):
    """Cancel every task twice, as the end of ``asyncio.run`` does."""

    async def use():
        async with opened(folder) as backend:
            task = await backend.launcher.launch(request())
            await until(backend.launcher, task, TaskState.RUNNING)
            await anyio.sleep_forever()

    before = asyncio.all_tasks()
    user = asyncio.get_running_loop().create_task(use())
    await asyncio.sleep(moment)
    for _ in range(2):
        for task in asyncio.all_tasks() - before if everything else [user]:
            task.cancel()
        await asyncio.sleep(0.001)
    await asyncio.wait([user])
    with anyio.fail_after(30):
        while marked():  # noqa: ASYNC110 - a process rings no bell
            await anyio.sleep(0.01)
    assert everything or not list(folder.iterdir())
    gc.collect()  # asyncio forgets a pipe when it is cut while it starts a process


PARENT = """
import anyio, sys
from pathlib import Path
from cloudburst import Limits, Timeouts, local
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.models.task import LaunchRequest, Secrets, TaskSpec
from cloudburst.models.tier import Tier

async def render(backend, number):
    request = LaunchRequest(spec=TaskSpec(), token=str(number), secrets=Secrets(key="k"))
    task = await backend.launcher.launch(request)
    while not (address := (await backend.launcher.describe(task)).address):
        await anyio.sleep(0.01)
    async with backend.connect(address, secrets=Secrets(key="k")) as renderer:
        scene = Scene(name=str(number), image=sys.argv[1], audio=sys.argv[2])
        checked = CheckedScene(scene=scene, audio_seconds=1, image_bytes=1)
        upload = await renderer.upload(checked)
        await renderer.encode(upload, progress=lambda share: print("encoding", flush=True))

async def main():
    open_backend = local(workers=1, encoders=1, folder=Path(sys.argv[3]))
    async with open_backend(Timeouts(), Tier.STANDARD) as backend:
        await render(backend, 1)

anyio.run(main)
"""


@pytest.mark.timeout(60)
@pytest.mark.few(1)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_parent(tmp_path, folder, end):
    image, audio = tmp_path / "i.png", tmp_path / "a.wav"
    make_picture(image)
    make_sound(audio, seconds=60)
    command = [sys.executable, "-c", PARENT, image, audio, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        try:
            for _ in range(3):
                assert parent.stdout.readline() == b"encoding\n"
            assert any(b"render_process" in name for name in marked().values())
            parent.send_signal(end)
            parent.wait(30)
            deadline = time.monotonic() + 20
            while (left := marked()) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not left
        finally:
            for pid in {parent.pid, *marked()}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    kept = {".log", ".lock"}
    assert not [p for p in folder.rglob("*") if p.suffix not in kept and p.is_file()]


async def test_the_folder_of_a_killed_backend_is_removed_by_the_next(folder):
    left, alive, logs = (folder / f"cloudburst-{name * 12}" for name in "abc")
    for place in (left, alive, logs):
        place.mkdir()
        (place / "w.log").write_text("last words")
    left.with_suffix(".lock").touch()
    with FileLock(alive.with_suffix(".lock")):
        async with opened(folder):
            assert not left.exists()
            assert not left.with_suffix(".lock").exists()
            async with opened(folder):
                pass
            assert len(list(folder.glob("*.lock"))) == 2, "a backend that lives was swept"
    assert alive.exists()
    assert logs.exists()


def make_picture(path):
    from PIL import Image

    Image.effect_noise((640, 360), 80).save(path)


def make_sound(path, *, seconds):
    import wave

    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000 * seconds))


async def test_a_post_mortem_has_the_last_lines_and_no_key(tmp_path):
    script = (
        f"{SAY}; import os; [print('line', n, file=sys.stderr) for n in range(300)]; "
        "print('the key', os.environ['AUTHENTICATION_KEY'], file=sys.stderr); os._exit(3)"
    )
    async with opened(tmp_path, script) as backend:
        task = await backend.launcher.launch(request(key="k-of-this-test"))
        await until(backend.launcher, task, TaskState.STOPPED)
        page = await backend.launcher.post_mortem(task)
        assert await backend.launcher.post_mortem("local-nobody") is None
    assert page.startswith(
        f"# Task {task} failed\n\n**The program in the container exited with an error.**"
    )
    assert "program" in page.splitlines()[2]
    assert "it exited by itself (exit code 3)" in page
    assert page.count("\n    line ") == 99
    assert "the key ***" in page
    assert "k-of-this-test" not in page


async def test_a_post_mortem_of_one_that_was_killed(tmp_path):
    script = f"{SAY}; import os; os.kill(os.getpid(), 9)"
    async with opened(tmp_path, script) as backend:
        task = await backend.launcher.launch(request())
        await until(backend.launcher, task, TaskState.STOPPED)
        page = await backend.launcher.post_mortem(task)
    assert "killed (SIGKILL)" in page
    assert "The log is empty." in page


async def test_a_project_with_a_similar_name_is_not_removed(folder):
    checkout = folder / "cloudburst-fargate"
    checkout.mkdir()
    (checkout / "README.md").write_text("precious")
    checkout.with_suffix(".lock").touch()
    async with opened(folder):
        pass
    assert (checkout / "README.md").exists()
    assert checkout.with_suffix(".lock").exists()


TELL = f"import json, os, sys; print(json.dumps(dict(os.environ)), file=sys.stderr); {WAIT}"


async def environment_of_a_worker(folder, **spec):
    async with opened(folder, f"{TELL.replace('sys.stdin.read()', 'sys.exit(3)')}") as backend:
        asked = LaunchRequest(spec=TaskSpec(**spec), token="t", secrets=Secrets(key="k-77"))
        await until(backend.launcher, await backend.launcher.launch(asked), TaskState.STOPPED)
    (log,) = folder.rglob("*.log")
    return json.loads(log.read_text())


async def test_a_worker_gets_no_secrets_of_this_process(folder, monkeypatch):
    secret = {
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DATABASE_URL", "PGPASSWORD",
        "VIDEO_API_AUTH_KEY", "CLOUDBURST_FALLBACKS", "GITHUB_TOKEN", "https_proxy",
    }  # fmt: skip
    for name in secret:
        monkeypatch.setenv(name, "secret-of-this-test")
    useful = {"LD_LIBRARY_PATH": "/nowhere", "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
    for name, value in useful.items():
        monkeypatch.setenv(name, value)
    got = await environment_of_a_worker(folder)
    assert got.items() >= useful.items()
    assert got["PATH"] == os.environ["PATH"]
    assert not secret & set(got)
    assert "secret-of-this-test" not in got.values()
    assert got["AUTHENTICATION_KEY"] == "k-77"


async def test_a_worker_trusts_the_same_certificate_authorities(folder, monkeypatch):
    trusted = {"SSL_CERT_FILE": "/etc/studio/ca.pem", "SSL_CERT_DIR": "/etc/studio/certs"}
    for name, value in trusted.items():
        monkeypatch.setenv(name, value)
    got = await environment_of_a_worker(folder)
    assert got.items() >= trusted.items()


async def test_a_worker_has_the_limits_of_its_client(folder):
    limits = Limits(image_pixels=5000, file_bytes=6000, audio_seconds=100)
    got = await environment_of_a_worker(folder, limits=limits)
    assert got["CLOUDBURST_IMAGE_PIXELS"] == "5000"
    assert got["CLOUDBURST_BODY_BYTES"] == "6000"
    assert float(got["CLOUDBURST_AUDIO_SECONDS"]) == pytest.approx(102)


async def test_a_file_over_a_clients_limit_is_the_scenes_fault_at_its_worker_too(folder):
    async with local(workers=1, folder=folder)(Timeouts(), Tier.STANDARD) as backend:
        limits = Limits(image_pixels=100)
        asked = LaunchRequest(spec=TaskSpec(limits=limits), token="t", secrets=Secrets(key="k-77"))
        task = await backend.launcher.launch(asked)
        address = (await until(backend.launcher, task, TaskState.RUNNING)).address
        image, audio = folder / "i.png", folder / "a.wav"
        make_picture(image)
        make_sound(audio, seconds=1)
        async with backend.connect(address, secrets=Secrets(key="k-77")) as renderer:
            upload = await renderer.upload(as_checked(Scene(name="s", image=image, audio=audio)))
            with pytest.raises(EncodeError) as caught:
                await renderer.encode(upload, progress=lambda _: None)
    assert caught.value.field == "image"
    assert not caught.value.retryable
