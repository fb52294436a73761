"""What tasks write is read: all of it, in order, of any task there is or was, until its end."""

from __future__ import annotations

import datetime as dt
import time

import anyio
import pytest

from cloudburst.aws.fargate.task_logs import ContainerLog, LogReader
from cloudburst.aws.setup import logs
from cloudburst.aws.setup.logs import read_logs
from cloudburst.errors import AccessDeniedError, ConfigurationError, ResourceMissingError
from cloudburst.models.account_tasks import LogLine
from cloudburst.testing import Fault
from support.cluster_with_runs import account, client, count, launch, settings_of

pytestmark = pytest.mark.anyio

QUICK = {"provisioning": 0.05, "pending": 0.05, "stop_timeout": 0.2}
MAIN, WATCHDOG = "cloudburst-processor", "cloudburst-watchdog"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(logs, "FOLLOW_INTERVAL", 0.1)
    monkeypatch.setattr(logs, "LOG_DELAY", 0.5)


def writer(script, **config):
    return account(**{**QUICK, "worker": ["sh", "-c", script], "watchdog": False, **config})


def started(emulator, number=1, **more):
    """ARNs of tasks that run."""
    arns = launch(emulator, number, **more)
    until(lambda: all(task.started for task in emulator.tasks if task.arn in arns))
    return arns


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def written(emulator, arn, lines, container=MAIN):
    """Wait until CloudWatch has so many lines."""
    stream = f"ecs/{container}/{arn.rpartition('/')[2]}"
    cloudwatch = client(emulator, "logs")
    kwargs = {"logGroupName": "/ecs/cloudburst", "logStreamName": stream}
    until(lambda: len(cloudwatch.get_log_events(**kwargs)["events"]) >= min(lines, 10_000))


def stop(emulator, arn):
    client(emulator).stop_task(cluster=emulator.environment["ECS_CLUSTER_NAME"], task=arn)


async def read(emulator, task, **more):
    changes = more.pop("changes", {})
    async with read_logs(settings_of(emulator, **changes), task, **more) as lines:
        return [line async for line in lines]


def texts(lines):
    return [line.text for line in lines]


def write_as(emulator, container, line):
    """Let the emulator hear a line of a container whose program never writes."""
    life = emulator._inside.registry.lifecycle(emulator.tasks[0].id)
    time.sleep(0.01)  # after the line before
    emulator._do(lambda: life.wrote(container, [line]))
    time.sleep(0.01)


async def test_the_lines_of_all_containers_by_time(tmp_path):
    go_on = tmp_path / "go on"
    script = f"echo one; while [ ! -e '{go_on}' ]; do sleep 0.05; done; echo '  three 三'; sleep 60"
    with writer(script, watchdog=True) as emulator:
        (arn,) = started(emulator)
        written(emulator, arn, 1)
        write_as(emulator, WATCHDOG, "two")
        go_on.touch()
        written(emulator, arn, 2)
        lines = await read(emulator, arn)
        assert texts(lines) == ["one", "two", "  three 三"]
        assert [line.container for line in lines] == [MAIN, WATCHDOG, MAIN]
        assert lines == sorted(lines, key=lambda line: line.time)
        assert abs(lines[0].time.timestamp() - time.time()) < 20


async def test_more_lines_than_an_answer_holds():
    with writer("seq 1 25000; sleep 60") as emulator:
        (arn,) = started(emulator)
        until(lambda: all_written(emulator, arn, 25000))
        assert texts(await read(emulator, arn)) == [str(n) for n in range(1, 25001)]
        calls = count(emulator, "GetLogEvents")
        assert texts(await read(emulator, arn, lines=10_000))[0] == "15001"
        assert count(emulator, "GetLogEvents") - calls < 6


def all_written(emulator, arn, lines):
    stream = f"ecs/{MAIN}/{arn.rpartition('/')[2]}"
    answer = client(emulator, "logs").get_log_events(
        logGroupName="/ecs/cloudburst", logStreamName=stream, limit=1
    )
    return bool(answer["events"]) and answer["events"][0]["message"] == str(lines)


async def test_a_task_is_named_by_arn_id_or_the_beginning_of_one():
    with writer('echo "$NAME"; sleep 60') as emulator:
        arns = []
        for name in ("a", "b"):
            environment = [{"name": "NAME", "value": name}]
            override = {"name": MAIN, "environment": environment}
            arns += started(emulator, overrides={"containerOverrides": [override]})
        written(emulator, arns[1], 1)
        task_id = arns[1].rpartition("/")[2]
        for named in (arns[1], task_id, task_id[:8]):
            assert texts(await read(emulator, named)) == ["b"]
        elsewhere = {"ECS_CLUSTER_NAME": "another"}
        assert texts(await read(emulator, arns[1], changes=elsewhere)) == ["b"]


async def test_a_beginning_that_many_have_names_none(monkeypatch):
    monkeypatch.setattr(logs, "MIN_ID_PREFIX", 1)
    with account() as emulator:
        launch(emulator, 17)  # of sixteen digits one comes twice
        await anyio.sleep(0.5)  # by then ECS knows them all
        ids = [task.id for task in emulator.tasks]
        twice = next(i[0] for i in ids if sum(other[0] == i[0] for other in ids) > 1)
        number = sum(other[0] == twice for other in ids)
        with pytest.raises(ConfigurationError, match=f"{number} tasks begin with {twice}"):
            await read(emulator, twice)


async def test_a_name_that_cannot_be_a_task_is_refused():
    with account() as emulator:
        for name in ("", "abc", "no task", "abcdefgh", "0123/"):
            with pytest.raises(ConfigurationError, match="expected an ARN, an id or at least 4"):
                await read(emulator, name)
        assert not emulator.calls


@pytest.mark.parametrize("name", ["0" * 32, "00000000"])
async def test_a_task_that_never_was(name):
    with account() as emulator:
        with pytest.raises(ResourceMissingError, match=f"no task {name}"):
            await read(emulator, name)
        with pytest.raises(ResourceMissingError, match=f"no task {name}"):
            await read(emulator, name, changes={"ECS_TASK_DEFINITION": "nothing"})


@pytest.mark.parametrize("stopped", [False, True])
async def test_the_id_of_a_run_is_refused_with_those_of_its_tasks(stopped):
    run = "4fcce4a8e1f6"
    with account(**QUICK) as emulator:
        (arn,) = started(emulator, run=run, started_by=f"cloudburst/{run}")
        if stopped:
            stop(emulator, arn)
            until(lambda: all(task.stopped for task in emulator.tasks))
        task_id = arn.rpartition("/")[2]
        with pytest.raises(ResourceMissingError, match=f"{run} is a run; its tasks: {task_id}$"):
            await read(emulator, run)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("length", [32, 8])
@pytest.mark.parametrize("visible", [600, 0.01])
async def test_a_task_that_has_stopped_and_one_that_ecs_has_forgotten(length, visible):
    with writer("echo last words", stopped_visible=visible) as emulator:
        (arn,) = launch(emulator)
        until(lambda: all(task.stopped for task in emulator.tasks))
        await anyio.sleep(0.1)
        task_id = arn.rpartition("/")[2]
        assert texts(await read(emulator, task_id[:length])) == ["last words"]


async def test_the_last_lines_only_and_what_comes_after_them(tmp_path):
    flag = tmp_path / "flag"
    with writer(f"seq 1 9; {waits(flag)}; echo more") as emulator:
        (arn,) = started(emulator)
        written(emulator, arn, 9)
        assert texts(await read(emulator, arn, lines=3)) == ["7", "8", "9"]
        assert texts(await read(emulator, arn, lines=0)) == []
        assert texts(await read(emulator, arn, lines=100)) == [str(n) for n in range(1, 10)]
        came = []
        async with read_logs(settings_of(emulator), arn, lines=2, follow=True) as lines:
            async for line in lines:
                flag.touch()
                came += [line.text]
        assert came == ["8", "9", "more"]
        assert texts(await read(emulator, arn, lines=0, follow=True)) == []


def waits(flag):
    return f"while [ ! -e {flag} ]; do sleep 0.05; done"


async def test_following_from_before_the_first_line_to_after_the_last(tmp_path):
    flag = tmp_path / "flag"
    with writer(f"echo 1; {waits(flag)}; echo 2; echo 3", provisioning=0.5) as emulator:
        (arn,) = launch(emulator)
        came = []
        with anyio.fail_after(15):
            async with read_logs(settings_of(emulator), arn, follow=True) as lines:
                async for line in lines:
                    flag.touch()  # it goes on only when its first line was read
                    came += [line.text]
        assert came == ["1", "2", "3"]
        assert emulator.tasks[0].last_status == "STOPPED"


async def test_following_is_left_early():
    with writer("while true; do echo line; sleep 0.05; done") as emulator:
        (arn,) = started(emulator)
        with anyio.fail_after(30):
            async with read_logs(settings_of(emulator), arn, follow=True) as lines:
                async for line in lines:
                    assert line.text == "line"
                    break
        calls = len(emulator.calls)
        await anyio.sleep(0.5)
        assert len(emulator.calls) == calls


async def test_following_survives_throttling_and_says_when_it_may_not_go_on():
    with writer("for n in 1 2 3 4; do echo $n; sleep 0.3; done") as emulator:
        (arn,) = started(emulator)
        emulator.add_fault(Fault(operation="GetLogEvents", skip=1, times=2))
        assert texts(await read(emulator, arn, follow=True)) == ["1", "2", "3", "4"]
    with writer("sleep 60") as emulator:
        (arn,) = started(emulator)
        emulator.add_fault(
            Fault(operation="GetLogEvents", code="AccessDeniedException", skip=3, times=None)
        )
        with pytest.raises(AccessDeniedError), anyio.fail_after(30):
            await read(emulator, arn, follow=True)


async def test_an_empty_stream_has_no_lines():
    with account() as emulator:
        (arn,) = launch(emulator)
        assert await read(emulator, arn) == []
        assert await read(emulator, arn, lines=5) == []


async def test_containers_that_do_not_write_to_cloudwatch():
    with account() as emulator:
        emulator.register(family="quiet", watchdog=False, container={"logConfiguration": {}})
        (arn,) = launch(emulator, definition="quiet")
        with pytest.raises(ConfigurationError, match="sends no logs to CloudWatch"):
            await read(emulator, arn)


@pytest.mark.parametrize("lines", [-1, 10_001])
async def test_a_number_of_lines_out_of_range(lines):
    with account() as emulator, pytest.raises(ConfigurationError, match="lines="):
        await read(emulator, "0" * 32, lines=lines)


class Late:
    """A reader to whom the last line comes when the task has already ended, as awslogs does it."""

    rounds = 0

    async def read_more(self):
        self.rounds += 1
        line = LogLine(time=dt.datetime.now(dt.UTC), container="c", text="late")
        return [line] if self.rounds == 4 else []

    async def has_stopped(self):
        return True


async def test_lines_that_come_after_the_end_are_waited_for():
    send, receive = anyio.create_memory_object_stream[LogLine](10)
    late = Late()
    with receive, anyio.fail_after(30):
        await logs._send_lines(late, late, send, True, None)
        assert texts([line async for line in receive]) == ["late"]
    assert late.rounds > 8


class Pages:
    """GetLogEvents as AWS may answer it: with pages that are empty, or not full, in between."""

    def __init__(self, *pages: list[int]) -> None:
        self.pages = pages

    async def call(self, service, operation, *, startFromHead=False, nextToken=None, **_):  # noqa: N803
        assert (service, operation) == ("logs", "get_log_events")
        end = len(self.pages)
        if nextToken is None:
            at = 0 if startFromHead else end - 1
        else:
            at = int(nextToken[1:])
            assert startFromHead is (nextToken[0] == "f")
        events = self.pages[at] if 0 <= at < end else []
        return {
            "events": [{"timestamp": number, "message": str(number)} for number in events],
            "nextForwardToken": f"f{min(at + 1, end)}",
            "nextBackwardToken": f"b{max(at - 1, -1)}",
        }


def reader(*pages):
    return LogReader(Pages(*pages), [ContainerLog(container="c", group="g", stream="s")])


async def test_empty_pages_are_not_the_end():
    pages = reader([1, 2], [], [], [3], [])
    assert texts(await pages.read_more()) == ["1", "2", "3"]
    assert await pages.read_more() == []


async def test_the_last_lines_may_lie_on_several_pages():
    pages = reader([1, 2], [3], [], [4, 5], [])
    assert texts(await pages.read_last(4)) == ["2", "3", "4", "5"]
    assert texts(await reader([1, 2], [3], []).read_last(9)) == ["1", "2", "3"]
