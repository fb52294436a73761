"""The calls of cloudburst-fargate, awaited: parameters, defaults and keys as they were."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import pytest

import cloudburst
from cloudburst import (
    Client,
    FargateOperationV1,
    Scene,
    Settings,
    Status,
    Tier,
    Video,
    blocking,
    calculate_fargate_cost,
    execute_parallel_batches,
)
from cloudburst.compat import calls, scan_and_test_folder
from cloudburst.compat.parameters import backend_of
from cloudburst.compat.results import batch_result
from cloudburst.errors import ConfigurationError, InvalidScenesError, NoAnswerError
from cloudburst.models import settings as settings_module
from cloudburst.models import task as billing
from cloudburst.models.performance import Sample
from cloudburst.models.prices import IPV4_USD_PER_SECOND, US_EAST_1_RATES
from cloudburst.models.report import Cost, Report, SceneReport, WorkerReport
from cloudburst.outputs.history import write_history
from cloudburst.testing import FakeCloud
from support.old_calls import KEYS, Account, account, write_env
from support.remote_store import BUCKET, RemoteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def scenes(make_scene):
    return lambda count: [make_scene(f"场景_{n:03}", seconds=0.1) for n in range(count)]


def test_parameters_and_defaults():
    parameters = inspect.signature(execute_parallel_batches).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "scenes": inspect.Parameter.empty,
        "scenes_per_batch": 10,
        "max_parallel_tasks": 10,
        "min_scenes_per_batch": 5,
        "language": "chinese",
        "enable_zoom": True,
        "config_priority": 4,
        "watermark_path": None,
        "is_portrait": False,
        "saving_dir": None,
        "background_box": True,
        "background_opacity": 0.2,
        "options": inspect.Parameter.empty,
    }
    assert inspect.iscoroutinefunction(execute_parallel_batches)


def defaults(call):
    parameters = inspect.signature(call).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not p.empty}


def test_parameters_of_the_class():
    assert defaults(FargateOperationV1) == {"config_priority": 1}
    batch = defaults(FargateOperationV1.execute_batch)
    assert batch["language"] == "english"
    assert batch["enable_zoom"] is True
    assert defaults(FargateOperationV1.list_running_tasks) == {"filter_animagent_only": True}
    cleanup = defaults(FargateOperationV1.cleanup_all_tasks)
    assert list(cleanup) == ["reason", "filter_animagent_only"]
    assert cleanup["filter_animagent_only"] is True
    assert list(inspect.signature(calculate_fargate_cost).parameters)[:2] == [
        "seconds",
        "task_count",
    ]
    for name in ("calculate_fargate_cost", "scan_scenes_from_folder"):
        assert not inspect.iscoroutinefunction(getattr(FargateOperationV1, name))


async def test_the_result_has_its_keys_three_times(cloud, scenes):
    result = await execute_parallel_batches(scenes(4), scenes_per_batch=2, max_parallel_tasks=2)
    assert set(KEYS) < set(result) == set(result.model_dump()) == set(result.keys())
    for key in KEYS:
        assert result[key] is getattr(result, key) or result[key] == getattr(result, key)
    assert set(result["efficiency"]) == {
        "speedup_factor",
        "processing_efficiency",
        "cost_per_scene",
    }
    assert result["success"] is True
    assert result["status"] == Status.COMPLETE
    assert (result["total_scenes"], result["successful_scenes"], result["failed_scenes"]) == (
        4,
        4,
        0,
    )
    assert result["total_cost_usd"] == result["efficiency"]["cost_per_scene"] == 0
    assert len(result) == len(list(result))
    assert result.get("nonsense", 7) == 7
    with pytest.raises(KeyError, match="model_dump"):  # only fields are keys
        _ = result["model_dump"]
    assert [Path(file).name for file in result["downloaded_files"]] == [
        f"场景_{n:03}.mp4" for n in range(4)
    ]
    assert not cloud.running, "execute_batch of old never stopped its task"


@pytest.mark.parametrize(
    ("count", "arguments", "tasks"),
    [
        (4, {"scenes_per_batch": 2, "max_parallel_tasks": 2}, 2),
        (8, {"scenes_per_batch": 2, "max_parallel_tasks": 4}, 4),
        (9, {"scenes_per_batch": 4, "min_scenes_per_batch": 4}, 2),
        (3, {}, 1),
    ],
)
async def test_as_many_tasks_as_planned(cloud, scenes, count, arguments, tasks):
    cloud.encode = 0.05
    result = await execute_parallel_batches(scenes(count), **arguments)
    assert result.tasks_used == len(result.task_results) == len(cloud.launched) == tasks
    assert cloud.max_running == tasks
    assert sum(task["successful_scenes"] for task in result["task_results"]) == count
    files = [file for task in result.task_results for file in task.downloaded_files]
    assert sorted(files) == sorted(result.downloaded_files)


@pytest.mark.parametrize("tier", Tier)
async def test_each_priority_is_a_tier(cloud, scenes, tier):
    await execute_parallel_batches(scenes(1), config_priority=tier.priority)
    assert cloud.tier is tier


async def test_the_priority_is_4_for_many_and_1_for_one(cloud, scenes):
    await execute_parallel_batches(scenes(1))
    assert cloud.tier is Tier.MAXIMUM_PERFORMANCE
    await FargateOperationV1().execute_batch(scenes(1))
    assert cloud.tier is Tier.STANDARD


async def test_the_look_by_default(cloud, scenes):
    await execute_parallel_batches(scenes(1))
    _, look = cloud.seen["场景_000"]
    assert look == cloudburst.RenderOptions()
    assert look.is_portrait is None, "false means by the picture"
    assert look.effects == ("zoom_in", "zoom_out")


async def test_the_look_reaches_the_worker(cloud, scenes):
    (scene,) = scenes(1)
    await execute_parallel_batches(
        [scene],
        language="english",
        enable_zoom=False,
        watermark_path=scene["image_path"],
        is_portrait=True,
        background_box=False,
        background_opacity=0.7,
    )
    _, look = cloud.seen["场景_000"]
    assert (look.language, look.effects, look.is_portrait) == ("english", (), True)
    assert (look.background_box, look.background_opacity) == (False, 0.7)
    assert look.watermark == Path(scene["image_path"])
    await execute_parallel_batches([scene], watermark_path="")
    assert cloud.seen["场景_000"][1].watermark is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"language": "klingon"}, "language"),
        ({"background_opacity": 2}, "background_opacity is 2; expected a number from 0"),
        ({"config_priority": 6}, "config_priority is 6"),
        ({"scenes_per_batch": 0}, "scenes_per_batch is 0"),
        ({"max_parallel_tasks": "english"}, "max_parallel_tasks is 'english'"),
        ({"watermark_path": "nowhere.png"}, "watermark"),
    ],
)
async def test_parameters_that_make_no_sense(cloud, scenes, tmp_path, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        await execute_parallel_batches(scenes(1), **arguments)
    assert not cloud.launched
    assert not list(tmp_path.glob("cloudburst_*"))


async def test_no_scenes(cloud):
    with pytest.raises(ConfigurationError, match="scenes is 0"):
        await execute_parallel_batches([])
    with pytest.raises(InvalidScenesError, match="at least one scene"):
        await FargateOperationV1().execute_batch([])
    with pytest.raises(ConfigurationError, match="config_priority is 0"):
        FargateOperationV1(0)


async def test_dictionaries_and_models(cloud, scenes):
    first, second = scenes(2)
    result = await execute_parallel_batches(iter([first, Scene.model_validate(second)]))
    assert result.successful_scenes == 2


async def test_where_videos_go(cloud, scenes, monkeypatch, tmp_path):
    def folder(result):
        (file,) = result.downloaded_files
        path = Path(file)
        assert path.name == "场景_000.mp4"
        assert path.parent.name == f"batch_{result.run}"
        return path.parent.parent

    scene = scenes(1)
    first = await execute_parallel_batches(scene)
    second = await execute_parallel_batches(scene)
    assert folder(first) == folder(second) == tmp_path / "cloudburst_fargate_results"
    assert first.downloaded_files != second.downloaded_files
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    assert folder(await execute_parallel_batches(scene)) == tmp_path / "results"
    assert folder(await execute_parallel_batches(scene, saving_dir="here")) == tmp_path / "here"
    alone = await FargateOperationV1().execute_batch(scene, saving_dir=tmp_path / "there")
    assert folder(alone) == tmp_path / "there"


async def test_the_environment_and_env_are_read(cloud, scenes, monkeypatch):
    env = "AWS_SUBNET_ID=subnet-1, subnet-2\nAPI_TIMEOUT_MINUTES=2\nRESULTS_DIR=from-env\n"
    write_env(env)
    monkeypatch.setenv("API_REQUEST_TIMEOUT_SECONDS", "7")
    result = await execute_parallel_batches(scenes(1))
    assert cloud.settings.subnets == ("subnet-1", "subnet-2")
    assert (cloud.timeouts.scene, cloud.timeouts.ready) == (120, 7)
    assert "from-env" in result.downloaded_files[0]
    write_env("API_TIMEOUT_MINUTES=soon")
    with pytest.raises(
        ConfigurationError, match=r"^API_TIMEOUT_MINUTES in \.env: expected a number"
    ):
        await execute_parallel_batches(scenes(1))


async def test_a_scene_that_takes_too_long(cloud, scenes, monkeypatch):
    monkeypatch.setenv("API_TIMEOUT_MINUTES", "0.005")
    cloud.encode = 5.0
    result = await execute_parallel_batches(scenes(1))
    assert not result.success
    assert result.errors["场景_000"].startswith("SceneTimeoutError")
    assert not cloud.running


async def test_cancelled_it_stops_its_tasks(cloud, scenes):
    cloud.encode = 30.0
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(execute_parallel_batches, scenes(2))
            while not cloud.launched:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert not cloud.running


async def test_a_subnet_makes_it_fargate_and_the_choice_is_logged(scenes, caplog):
    # Nothing listens on port 9: what matters is who is asked.
    write_env(
        "AWS_SUBNET_ID=subnet-1\nAWS_ENDPOINT_URL=http://127.0.0.1:9\n"
        "AWS_ACCESS_KEY_ID=AKIATEST\nAWS_SECRET_ACCESS_KEY=secret\nECS_CLUSTER_NAME=\n"
    )
    with (
        caplog.at_level(logging.INFO, "cloudburst"),
        pytest.raises(NoAnswerError),
    ):
        await execute_parallel_batches(scenes(1))
    where, plan, *_ = caplog.messages
    assert where == "subnet subnet-1 is configured: rendering on Fargate"
    assert plan == "1 scene on 1 task: 1 × 1"


async def test_one_task_for_a_batch(cloud, scenes, caplog):
    cloud.encode = 0.02
    operation = FargateOperationV1(config_priority=5)
    result = await operation.execute_batch(scenes(4), language="chinese", enable_zoom=False)
    assert result.success
    assert (result.tasks_used, len(cloud.launched), cloud.tier) == (1, 1, Tier.ECONOMY)
    assert not cloud.running
    assert cloud.seen["场景_000"][1].effects == ()
    await operation.execute_batch(scenes(1), auto_terminate=False, effects=("pan_left",))
    assert "auto_terminate=False has no effect" in caplog.text
    assert not cloud.running
    assert cloud.seen["场景_000"][1].effects == ("pan_left",)
    with pytest.raises(ConfigurationError, match="nonsense"):
        await operation.execute_batch(scenes(1), nonsense=1)


def cost(usd):
    return Cost(encoding=Decimal(usd), billed_seconds=60, final=True)


def told(*, billed):
    video = {"task": "t1", "size": 1, "sha256": "0", "seconds": 1.0}
    made = [Video(scene=name, path=Path(f"/{name}.mp4"), **video) for name in "ab"]
    return Report(
        run="run",
        status=Status.PARTIAL,
        wall_seconds=20.0,
        scenes=(
            *(SceneReport(scene=video.scene, video=video, task="t1") for video in made),
            SceneReport(scene="c", error="EncodeError: no", task="t2"),
            SceneReport(scene="d", error="LaunchError: no"),
        ),
        workers=(
            WorkerReport(
                task="t1",
                backend="fargate",
                launched_at=0.0,
                stopped_at=20.0,
                encode_seconds=10.0,
                scenes=2,
                cost=cost("0.3") if billed else None,
            ),
            WorkerReport(
                task="t2",
                backend="fargate",
                launched_at=5.0,
                encode_seconds=4.0,
                cost=cost("0.1") if billed else None,
                error="WorkerStoppedError: gone",
                possibly_running=True,
            ),
            WorkerReport(task="", backend="fargate", launched_at=None, error="CapacityError: full"),
        ),
        cost=cost("0.4") if billed else Cost(final=True),
    )


def test_the_figures_of_a_result():
    result = batch_result(told(billed=True))
    assert result.efficiency.speedup_factor == pytest.approx((20 + 15) / 20)
    assert result.efficiency.processing_efficiency == pytest.approx(100 * 14 / 35)
    assert result.efficiency.cost_per_scene == pytest.approx(0.1)
    assert result.total_cost_usd == pytest.approx(0.4)
    assert (result.total_duration, result.tasks_used, result.failed_scenes) == (20.0, 2, 2)
    assert not result.success
    assert result.downloaded_files == ["/a.mp4", "/b.mp4"]
    assert result.errors == {"c": "EncodeError: no", "d": "LaunchError: no"}
    first, second = result.task_results
    assert (first.task_arn, first.success, first.successful_scenes) == ("t1", True, 2)
    assert (first.total_cost_usd, first.total_duration) == (0.3, 20.0)
    assert (second.success, second.failed_scenes, second.total_duration) == (False, 1, 15.0)
    assert (second.error, second.may_run) == ("WorkerStoppedError: gone", True)


def test_where_nothing_is_billed_it_costs_0():
    result = batch_result(told(billed=False))
    assert result.total_cost_usd == result.efficiency.cost_per_scene == 0
    assert [task.total_cost_usd for task in result.task_results] == [0, 0]


async def test_a_call_does_not_wait_for_the_final_bill(monkeypatch, scenes):
    cloud = account(monkeypatch, rates=US_EAST_1_RATES, ends_after=1000)
    with anyio.fail_after(15):
        result = await execute_parallel_batches(scenes(2), config_priority=1)
    minute = 60 * (2 * US_EAST_1_RATES.vcpu + 4 * US_EAST_1_RATES.memory_gb)
    assert result.total_cost_usd == pytest.approx(float(minute))
    assert result.efficiency.cost_per_scene == pytest.approx(result.total_cost_usd / 2)
    assert not cloud.running


@pytest.mark.parametrize(
    ("priority", "hour"),
    [(1, 0.0987), (2, 0.1975), (3, 0.395), (4, 0.7899), (5, 0.0494)],
)
def test_what_an_hour_costs(priority, hour):
    cost = FargateOperationV1(priority).calculate_fargate_cost(3600, 2)
    assert cost["cost_per_hour"] == pytest.approx(hour, abs=0.0001)
    with_address = hour + float(3600 * IPV4_USD_PER_SECOND)
    assert cost["total_cost_usd"] == pytest.approx(2 * with_address, abs=0.0002)
    assert cost == calculate_fargate_cost(3600, 2, priority)


def test_the_minimum_is_that_of_every_bill(monkeypatch):
    monkeypatch.setattr(billing, "MINIMUM_BILLED_SECONDS", 90)
    assert calculate_fargate_cost(1).billed_seconds == 90


def test_a_cost_is_at_least_that_of_a_minute(monkeypatch):
    minute = calculate_fargate_cost(60)
    assert calculate_fargate_cost(1).total_cost_usd == minute.total_cost_usd
    assert calculate_fargate_cost(60.1).billed_seconds == 61
    assert calculate_fargate_cost(0).total_cost_usd == 0
    parts = minute["cost_breakdown"]
    whole = parts["vcpu_cost"] + parts["memory_cost"] + parts["ipv4_cost"]
    assert minute.total_cost_usd == pytest.approx(whole)
    monkeypatch.setenv("CLOUDBURST_PUBLIC_ADDRESS", "false")
    assert calculate_fargate_cost(60).cost_breakdown.ipv4_cost == 0
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert calculate_fargate_cost(60).total_cost_usd > minute.cost_per_hour / 60
    for wrong in ((-1, 1), (float("nan"), 1), (1, -1)):
        with pytest.raises(ConfigurationError, match="numbers from 0"):
            calculate_fargate_cost(*wrong)


def test_a_folder_of_scenes(tmp_path):
    for name in ("images/scene_1.png", "audio/scene_1.mp3", "audio/scene_1.srt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = FargateOperationV1().scan_scenes_from_folder(tmp_path)
    assert found == cloudburst.scan_scenes_from_folder(tmp_path)
    assert found[0]["subtitle_path"] == str(tmp_path / "audio/scene_1.srt")


def test_a_folder_of_scenes_in_s3_is_read_with_the_settings_of_env(monkeypatch):
    store = RemoteStore()
    store.put("in/images/scene_1.png", b"")
    store.put("in/audio/scene_1.mp3", b"")
    asked = []
    monkeypatch.setattr(
        "cloudburst.compat.parameters.open_remote_inputs",
        lambda settings: asked.append(settings.region) or store.inputs(),
    )
    write_env("AWS_REGION=eu-west-3\n")
    (found,) = cloudburst.scan_scenes_from_folder(f"s3://{BUCKET}/in")
    assert found["image_path"] == f"s3://{BUCKET}/in/images/scene_1.png"
    assert asked == ["eu-west-3"]


async def test_a_run_has_the_name_that_it_was_given(make_scene, tmp_path):
    scene = [make_scene("a")]
    async with Client(FakeCloud().backend) as client:
        async with client.stream(scene, to=tmp_path / "1", name="mine") as run:
            assert (await run.until_done()).run == run.name == "mine"
            with pytest.raises(ConfigurationError, match="already has a run with the name 'mine'"):
                async with client.stream(scene, to=tmp_path / "2", name="mine"):
                    pass
        async with client.stream(scene, to=tmp_path / "2", name="mine") as run:
            await run.until_done()
        for wrong in ("", "a/b", "a" * 65, "名"):
            with pytest.raises(ConfigurationError, match="expected 1 to 64"):
                async with client.stream(scene, to=tmp_path / "3", name=wrong):
                    pass


@pytest.mark.parametrize(
    "setting",
    ["ECS_CLUSTER_NAME=mine", "ECS_TASK_DEFINITION=mine", "AWS_SECURITY_GROUP_ID=sg-1"],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
async def test_settings_for_fargate_without_a_subnet_are_an_error(
    make_scene, monkeypatch, setting, place
):
    name, _, value = setting.partition("=")
    if place == ".env":
        write_env(setting)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ConfigurationError, match=rf"{name}( in \.env)? is set, but AWS_SUBNET_ID is not"
    ):
        await FargateOperationV1().execute_batch([make_scene()])


async def test_the_env_file_is_read_in_a_thread(make_scene, monkeypatch):
    threads = []

    def read(_):
        threads.append(threading.get_ident())
        return {"AWS_PROFILE": "mine"}

    monkeypatch.setattr(settings_module, "read_env_file", read)
    with pytest.raises(ConfigurationError):
        await execute_parallel_batches([make_scene()])
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "aws_role_arn"])
async def test_credentials_in_the_env_file_without_a_subnet_are_an_error(make_scene, name):
    write_env(f"{name}=mine")
    with pytest.raises(ConfigurationError, match=rf"{name.upper()} in \.env is set, but AWS_SUB"):
        await execute_parallel_batches([make_scene()])


@pytest.mark.parametrize(
    "environment", [{}, {"AWS_ACCESS_KEY_ID": "AKIA"}, {"ECS_CLUSTER_NAME": "", "AWS_PROFILE": "x"}]
)
def test_other_settings_render_on_this_machine_with_a_warning(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    write_env("ECS_CLUSTER_NAME=\nAWS_ACCESS_KEY_ID=\nRESULTS_DIR=x\n")
    with pytest.warns(UserWarning, match="rendering on this machine, not on Fargate"):
        assert backend_of(Settings())


@pytest.mark.parametrize(
    "arguments",
    [
        (2, 2, "chinese", True, 1),  # as the documentation of cloudburst-fargate has them
        (10, "english", True, 4, 10, 5),  # as its release 1.0.1 has them
        (10, 10, True, 4),
    ],
)
async def test_parameters_in_an_order_of_old_releases_are_named(make_scene, arguments):
    with pytest.raises(ConfigurationError, match="order of parameters differs"):
        await execute_parallel_batches([make_scene()], *arguments)


def test_the_warning_names_the_line_of_the_caller(monkeypatch, make_scene, tmp_path):
    backend = FakeCloud().backend
    monkeypatch.setattr("cloudburst.compat.parameters.local", lambda: backend)
    more = {"saving_dir": tmp_path / "out"}

    async def awaits():
        await execute_parallel_batches([make_scene("a")], **more)  # here 1

    calls = [
        lambda: asyncio.run(awaits()),
        lambda: anyio.run(partial(execute_parallel_batches, [make_scene("b")], **more)),  # here 2
        lambda: blocking.execute_parallel_batches([make_scene("c")], **more),  # here 3
        lambda: blocking.FargateOperationV1().execute_batch([make_scene("d")], **more),  # here 4
    ]
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    for number, call in enumerate(calls, 1):
        with pytest.warns(UserWarning, match="AWS_SUBNET_ID is not set") as caught:
            call()
        assert caught[0].filename == __file__
        assert lines[caught[0].lineno - 1].endswith(f"# here {number}")


async def test_only_parameters_that_are_wrong_are_named(make_scene):
    with pytest.raises(ConfigurationError, match=r"^max_parallel_tasks is '2'; expected a whole n"):
        await execute_parallel_batches([make_scene()], max_parallel_tasks="2")


async def test_a_folder_is_scanned_and_rendered(monkeypatch, make_scene, tmp_path):
    cloud = account(monkeypatch)
    for folder in ("images", "audio"):
        (tmp_path / "old" / folder).mkdir(parents=True)
    scene = make_scene("scene_1")
    os.rename(scene["image_path"], tmp_path / "old" / "images" / "scene_1.png")  # noqa: PTH104
    os.rename(scene["audio_path"], tmp_path / "old" / "audio" / "scene_1.mp3")  # noqa: PTH104
    result = await scan_and_test_folder(str(tmp_path / "old"), saving_dir="out")
    assert (result.success, result.total_scenes) == (True, 1)
    ((_, options),) = cloud.seen.values()
    assert (options.language, bool(options.effects)) == ("english", True)


class Measured(Account):
    """Its figures are kept from call to call."""

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, kind="measured")


@pytest.mark.few(1)
@pytest.mark.parametrize("encoders", [1, 2])
@pytest.mark.parametrize(
    ("number", "per_batch", "most", "planned"), [(4, 2, 2, 2), (2, 1, 2, 2), (9, 3, 3, 3)]
)
async def test_every_call_starts_the_tasks_that_it_plans(  # noqa: PLR0917 - one table
    monkeypatch, scenes, number, per_batch, most, planned, encoders
):
    """Also once it is known that one task alone would cost less."""
    cloud = Measured(rates=US_EAST_1_RATES, boot=0.05, encode=0.01, encoders=encoders)
    monkeypatch.setattr(calls, "backend_of", cloud.chosen)
    starts = [Sample(kind="measured", measure="startup", seconds=40.0)]
    encodes = [Sample(kind="measured", measure="encode", seconds=5.0, work=5.0)] * 20
    write_history([*starts, *encodes])
    for call in range(1, 4):
        result = await execute_parallel_batches(scenes(number), per_batch, most, 1)
        assert result.success
        assert result.tasks_used == planned
        assert len(cloud.launched) == call * planned
    await FargateOperationV1(1).execute_batch(scenes(number))
    assert len(cloud.launched) == 3 * planned + 1


SECRET = "a-secret-of-this-environment"


async def test_a_value_of_the_env_file_is_taken_as_written(monkeypatch):
    """Else a file of a stranger could send any variable to an endpoint of its own."""
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)
    write_env("AWS_ENDPOINT_URL=http://127.0.0.1:1/${GITHUB_TOKEN}\nRESULTS_DIR='$GITHUB_TOKEN'\n")
    settings = Settings()
    assert settings.endpoint_url == "http://127.0.0.1:1/${GITHUB_TOKEN}"
    assert SECRET not in repr(settings)


async def test_a_pipe_in_place_of_the_env_file_is_an_error_and_no_wait():
    os.mkfifo(".env")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        Settings()
