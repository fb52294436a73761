"""The blocking calls, as programs without a loop call them, also those of cloudburst-fargate."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

import cloudburst
from cloudburst import Limits, Status, blocking, compat
from cloudburst.errors import ConfigurationError
from support.old_calls import account, without_settings

OLD_IMPORTS = (
    "from cloudburst_fargate.fargate_operation import",
    "from cloudburst_fargate import",
)


@pytest.fixture(autouse=True)
def own_settings(monkeypatch, tmp_path):
    without_settings(monkeypatch, tmp_path)


@pytest.fixture
def cloud(monkeypatch):
    return account(monkeypatch)


@pytest.fixture
def scenes(make_scene):
    return lambda count: [make_scene(f"场景_{n:03}", seconds=0.2) for n in range(1, count + 1)]


@pytest.fixture
def run_old(capsys):
    """Run a program of old with nothing but the import line changed; returns what it printed."""

    def run(program, **names):
        for old in OLD_IMPORTS:
            program = program.replace(old, "from cloudburst.blocking import")
        assert "cloudburst_fargate" not in program
        exec(compile(program, "old program", "exec"), names)
        return capsys.readouterr().out

    return run


ONE_SCENE = """
from cloudburst_fargate import FargateOperationV1

processor = FargateOperationV1(config_priority=1)
result = processor.execute_batch(scenes, language="chinese", enable_zoom=True)
print(f"made {result['successful_scenes']} videos")
"""

PARALLEL = """
from cloudburst_fargate.fargate_operation import execute_parallel_batches

result = execute_parallel_batches(
    scenes=scenes,
    scenes_per_batch=2,
    max_parallel_tasks=2,
    language="chinese",
    enable_zoom=True,
    config_priority=1,
    watermark_path=None,
    is_portrait=False,
    saving_dir="./output",
    background_box=True,
    background_opacity=0.2
)

print(f"speedup {result['efficiency']['speedup_factor']:.2f}x")
print(f"cost ${result['total_cost_usd']:.4f}")
print(f"got {len(result['downloaded_files'])} videos")
print(f"tasks {result['tasks_used']}")
print(f"efficiency {result['efficiency']['processing_efficiency']:.1f}%")
print(f"a scene ${result['total_cost_usd']/len(scenes):.4f}")
"""

EVERY_PARAMETER = """
from cloudburst_fargate.fargate_operation import execute_parallel_batches

result = execute_parallel_batches(
    scenes=scenes,
    scenes_per_batch=3,
    max_parallel_tasks=4,
    language="chinese",
    enable_zoom=True,
    config_priority=2,
    min_scenes_per_batch=5,
    watermark_path=None,
    is_portrait=False,
    saving_dir="./videos",
    background_box=True,
    background_opacity=0.2
)
print(f"done: {result['success']}")
"""


def test_many_scenes_in_parallel(cloud, scenes, run_old, tmp_path):
    cloud.encode = 0.05
    out = run_old(PARALLEL, scenes=scenes(4))
    assert "got 4 videos" in out
    assert "cost $0.0000" in out
    assert "tasks 2" in out
    assert set(cloud.launched.values()) == {"fake-1", "fake-2"}
    assert not cloud.running
    assert [path.name[:6] for path in (tmp_path / "output").iterdir()] == ["batch_"]


def test_every_parameter(cloud, scenes, run_old):
    assert "done: True" in run_old(EVERY_PARAMETER, scenes=scenes(3))


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(60)
def test_one_scene_on_this_machine(scenes, run_old, tmp_path):
    with pytest.warns(UserWarning, match="AWS_SUBNET_ID is not set: rendering on this machine"):
        assert "made 1 videos" in run_old(ONE_SCENE, scenes=scenes(1))
    (video,) = tmp_path.glob("cloudburst_fargate_results/batch_*/场景_001.mp4")
    assert video.read_bytes()[4:8] == b"ftyp"


def test_progress_is_written_to_a_terminal(cloud, scenes, terminal):
    shown = terminal()
    blocking.execute_parallel_batches(scenes(2), scenes_per_batch=1, min_scenes_per_batch=1)
    lines = shown.getvalue().splitlines()
    assert re.fullmatch(r"cloudburst: run \w+: worker [12] is ready", lines[0])
    done = [line.partition(": 场景_")[2] for line in lines if " is done (" in line]
    assert sorted(line[:3] for line in done) == ["001", "002"]
    assert [line[3:] for line in done] == [" is done (1 of 2)", " is done (2 of 2)"]
    assert not logging.getLogger("cloudburst.runs").handlers


def test_nothing_is_written_twice_where_logging_is_set_up(
    cloud, scenes, terminal, caplog, monkeypatch
):
    shown = terminal()
    caplog.set_level(logging.INFO, "cloudburst")
    monkeypatch.setattr(logging.root, "handlers", [caplog.handler])
    blocking.execute_parallel_batches(scenes(1))
    assert [text for text in caplog.messages if text.endswith(": 场景_001 is done (1 of 1)")]
    assert shown.getvalue() == ""


def test_nothing_is_written_to_a_pipe(cloud, scenes, capsys):
    blocking.execute_parallel_batches(scenes(1))
    assert capsys.readouterr().err == ""


@pytest.fixture
def terminal(monkeypatch):
    """Make standard error a terminal that a test can read. Called in the test: pytest replaces
    standard error between fixtures and tests."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def opened():
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        # pytest's own handlers of the root logger count as logging that is set up.
        monkeypatch.setattr(logging.root, "handlers", [])
        return shown

    return opened


def parameters(call):
    found = inspect.signature(call).parameters.values()
    return [(p.name, p.default) for p in found if p.kind is not p.VAR_KEYWORD]


@pytest.mark.parametrize("name", ["execute_parallel_batches", "render", "render_all"])
def test_a_blocking_function_is_like_the_awaited_one(name):
    ours, theirs = getattr(blocking, name), getattr(cloudburst, name)
    assert parameters(ours) == parameters(theirs)
    assert ours.__doc__ == theirs.__doc__
    assert not inspect.iscoroutinefunction(ours)


def test_one_call_renders_all_scenes_and_the_next_one_resumes(cloud, scenes, tmp_path):
    limits = Limits(workers=2, max_usd=5)
    to, wanted, runs = tmp_path / "out", scenes(3), set()
    for _ in range(2):
        report = blocking.render_all(
            wanted, to=to, backend=cloud.backend, limits=limits, resume=True
        )
        assert report.status is Status.COMPLETE
        assert len(report.videos) == 3
        runs.add(report.run)
    assert len(runs) == 1
    video = blocking.render(wanted[0], to=to, backend=cloud.backend, overwrite=True)
    assert video.path.parent == to


def test_the_blocking_client_is_like_the_awaited_one():
    ours, theirs = blocking.FargateOperationV1, cloudburst.FargateOperationV1
    assert parameters(ours) == parameters(theirs)
    methods = {name for name in vars(theirs) if not name.startswith("_")}
    assert methods == {name for name in vars(ours) if not name.startswith("_")}
    for name in methods:
        mine, other = parameters(getattr(ours, name)), parameters(getattr(theirs, name))
        assert mine == other[: len(mine)], name
        assert not inspect.iscoroutinefunction(getattr(ours, name))


def test_plain_functions_are_the_same():
    for name in (
        "calculate_fargate_cost",
        "calculate_optimal_batch_distribution",
        "scan_scenes_from_folder",
    ):
        assert getattr(blocking, name) is getattr(cloudburst, name)
        assert getattr(compat, name) is getattr(cloudburst, name)
    operation = blocking.FargateOperationV1(5)
    assert operation.calculate_fargate_cost(60) == blocking.calculate_fargate_cost(60, 1, 5)
    with pytest.raises(ConfigurationError, match="no images"):
        operation.scan_scenes_from_folder(".")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_within_a_loop_it_runs_in_a_thread(cloud, scenes):
    result = blocking.execute_parallel_batches(scenes(1))
    assert result.success
    assert not cloud.running
    with pytest.raises(ConfigurationError, match="scenes is 0"):
        blocking.execute_parallel_batches([])


INTERRUPTED_IN_A_LOOP = """
import asyncio, signal, sys, threading, time

from cloudburst import blocking
from cloudburst.testing import FakeCloud

cloud = FakeCloud(encode=30)


def interrupt():
    while not cloud.launched:
        time.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # the main thread sleeps on


def raise_interrupt(*_):
    raise KeyboardInterrupt


async def main(handler, **files):
    if handler == "raises":
        signal.signal(signal.SIGINT, raise_interrupt)
    threading.Thread(target=interrupt).start()
    try:
        blocking.render({"name": "a", **files}, to=".", backend=cloud.backend)
    finally:
        print("left:", len(cloud.running))


asyncio.run(main(sys.argv[1], image=sys.argv[2], audio=sys.argv[3]))
"""


@pytest.mark.few(1)
@pytest.mark.real
@pytest.mark.parametrize("handler", ["of asyncio", "raises"])
def test_ctrl_c_within_a_loop_stops_the_tasks_and_the_program(handler, make_scene, tmp_path):
    _, *files = make_scene().values()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_A_LOOP, handler, *files],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        cwd=tmp_path,
    )
    assert done.stdout == "left: 0\n", done.stderr
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert done.returncode == -signal.SIGINT


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("in_thread", [anyio.to_thread.run_sync, asyncio.to_thread])
async def test_from_threads_while_a_loop_runs(cloud, scenes, in_thread):
    cloud.encode = 0.1
    ticks, results = 0, []
    some = scenes(1)

    async def one():
        results.append(await in_thread(blocking.execute_parallel_batches, some))

    async def tick():
        nonlocal ticks
        while True:
            await anyio.sleep(0.01)
            ticks += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        async with anyio.create_task_group() as calls:
            calls.start_soon(one)
            calls.start_soon(one)
        tasks.cancel_scope.cancel()
    assert [result.success for result in results] == [True, True]
    assert len({Path(result.downloaded_files[0]).parent for result in results}) == 2
    assert ticks > 5, "the loop went on meanwhile"


def test_errors_leave_as_they_are(cloud, scenes):
    with pytest.raises(ConfigurationError, match="scenes is 0"):
        blocking.execute_parallel_batches([])
    with pytest.raises(cloudburst.errors.InvalidScenesError, match="nowhere"):
        blocking.FargateOperationV1().execute_batch([scenes(1)[0] | {"image_path": "nowhere"}])


ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def handlers(cloud, monkeypatch):
    """What the signals do while scenes are rendered; ``sent`` comes meanwhile."""

    class Seen(list):
        sent = None

    seen = Seen()
    upload = cloud.connect

    def connect(address, *, secrets):
        seen.append([signal.getsignal(signum) for signum in ALL])
        if seen.sent is not None:
            signal.raise_signal(seen.sent)
        return upload(address, secrets=secrets)

    monkeypatch.setattr(cloud, "connect", connect)
    return seen


def test_signals_are_ours_while_it_runs_and_no_longer(handlers, scenes):
    before = [signal.getsignal(signum) for signum in ALL]
    assert before == [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
    blocking.execute_parallel_batches(scenes(1))
    assert handlers
    for during, usual in zip(handlers[0], before, strict=True):
        assert during is not usual
    assert [signal.getsignal(signum) for signum in ALL] == before


def test_handlers_of_the_program_stay(handlers, scenes):
    came = []

    def own(signum, _frame):
        came.append(signum)

    before = [signal.signal(signum, own) for signum in ALL]
    try:
        blocking.execute_parallel_batches(scenes(1))
        assert handlers[0] == [own] * 3
        handlers.sent = signal.SIGTERM
        assert blocking.execute_parallel_batches(scenes(1)).success
        assert [signal.getsignal(signum) for signum in ALL] == [own] * 3
    finally:
        for signum, handler in zip(ALL, before, strict=True):
            signal.signal(signum, handler)
    assert came == [signal.SIGTERM]


def test_ctrl_c_stops_the_tasks_and_interrupts(handlers, cloud, scenes):
    cloud.encode = 30
    handlers.sent = signal.SIGINT
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        blocking.execute_parallel_batches(scenes(2))
    assert time.monotonic() - began < 5
    assert cloud.launched
    assert not cloud.running
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_stay_ignored(handlers, scenes):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        blocking.execute_parallel_batches(scenes(1))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert handlers[0][2] is signal.SIG_IGN


def test_another_thread_leaves_signals_alone(handlers, scenes):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(blocking.execute_parallel_batches(scenes(1)))
    )
    thread.start()
    thread.join()
    assert results[0].success
    assert handlers[0] == [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
