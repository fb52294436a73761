"""Each variable of the environment changes what it shall, for the calls of old."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from cloudburst import Client, FargateOperationV1, Settings, execute_parallel_batches, fargate
from cloudburst.aws.client.client import open_aws
from cloudburst.aws.client.credentials import create_role_session, create_session
from cloudburst.aws.setup import InitOptions, init, init_account
from cloudburst.client.backends import default_backend
from cloudburst.compat import calculate_fargate_cost
from cloudburst.emulator.ec2 import WORKER_GROUP_ID, subnet_id
from cloudburst.errors import CapacityError, ConfigurationError
from cloudburst.image.options import ImageOptions
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import parse_s3_encryption
from cloudburst.models.task import LaunchRequest, TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import new_key
from cloudburst.testing import CapacityShortage, EmulatorConfig, FargateEmulator
from support.old_calls import NAMES, write_env

pytestmark = pytest.mark.anyio

ROLE = "arn:aws:iam::123456789012:role/renderer"


@pytest.fixture(autouse=True)
def nobody_home(monkeypatch, tmp_path):
    """Boto finds no profile and no metadata service."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def endpoint_of(aws, service):
    client = await aws._open_clients().client(service, None)
    return client.meta.endpoint_url


def env_without(word):
    """Take the lines with this word out of ``.env``."""
    lines = Path(".env").read_text("utf-8").splitlines(keepends=True)
    write_env("".join(line for line in lines if word not in line))


def env_with(line):
    """Add a line to ``.env``."""
    write_env(f"{Path('.env').read_text('utf-8')}{line}\n")


async def who():
    """Who AWS says we are."""
    return await FargateOperationV1().check_aws_account_validity()


REQUEST = LaunchRequest(spec=TaskSpec(run="run"), token="token", secrets=new_key())
ONLY_THERE = {"provisioning": 600}
"""Tasks that are never so far that they need a process."""


async def launched(aws, session=None):
    """The first task of a backend with the settings that are found."""
    async with fargate(Settings(), session=session)(Timeouts(), Tier.STANDARD) as backend:
        await backend.launcher.launch(REQUEST)
    return aws.tasks[0]


async def asked_for(aws):
    """What RunTask is asked for with the settings that are found."""
    asked = []
    settings = Settings()
    session = create_session(settings)
    session.events.register(
        "before-call.ecs.RunTask", lambda params, **_: asked.append(json.loads(params["body"]))
    )
    await launched(aws, session)
    return asked[0]


@pytest.fixture
def task_of(emulated, monkeypatch):
    """What RunTask is asked for with these variables."""

    async def task(**variables):
        with emulated(**ONLY_THERE) as aws:
            for word in variables:
                env_without(word)
            for name, value in variables.items():
                if value is not None:
                    monkeypatch.setenv(name, value)
            return await asked_for(aws)

    return task


def network(asked):
    return asked["networkConfiguration"]["awsvpcConfiguration"]


async def test_aws_access_key_id(emulated, monkeypatch):
    with emulated() as aws:
        mine = aws.new_key()
        for name, value in mine.items():
            monkeypatch.setenv(name, value)
        assert (await who()).valid
        assert [call.key for call in aws.calls] == [mine["AWS_ACCESS_KEY_ID"]]


@pytest.mark.parametrize("half", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
async def test_aws_secret_access_key(emulated, half):
    with emulated() as aws:
        assert (await who()).valid
        env_without(half)
        found = await who()
        assert not found.valid
        assert f"missing: {half}" in found.message
        assert len(aws.calls) == 1, "nothing is signed with half a key"


async def test_aws_session_token(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, f"my {name}")
    credentials = await create_session(Settings()).get_credentials()
    assert credentials.token == "my AWS_SESSION_TOKEN"


async def test_aws_profile(emulated, monkeypatch, tmp_path):
    with emulated() as aws:
        mine = aws.new_key()
        keys = "".join(f"{name.lower()} = {value}\n" for name, value in mine.items())
        (tmp_path / "credentials").write_text(f"[mine]\n{keys}")
        env_without("KEY")
        monkeypatch.setenv("AWS_PROFILE", "mine")
        assert (await who()).valid
        assert [call.key for call in aws.calls] == [mine["AWS_ACCESS_KEY_ID"]]


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
async def test_aws_region(monkeypatch, name):
    async with open_aws(Settings()) as aws:
        assert aws.region == "us-east-1"
    before = calculate_fargate_cost(60).total_cost_usd
    monkeypatch.setenv(name, "eu-central-1")
    async with open_aws(Settings()) as aws:
        assert aws.region == "eu-central-1"
    assert calculate_fargate_cost(60).total_cost_usd > before


@pytest.mark.parametrize("name", [None, "me"])
async def test_aws_role_arn_and_aws_role_session_name(emulated, monkeypatch, name):
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    if name:
        monkeypatch.setenv("AWS_ROLE_SESSION_NAME", name)
    with emulated() as aws:
        found = await who()
        assert found.user_arn == (
            f"arn:aws:sts::123456789012:assumed-role/renderer/{name or 'cloudburst'}"
        )
        assert [call.operation for call in aws.calls] == ["AssumeRole", "GetCallerIdentity"]


@pytest.mark.parametrize("given", [None, "their id"])
async def test_aws_external_id(monkeypatch, given):
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    if given:
        monkeypatch.setenv("AWS_EXTERNAL_ID", given)
    asked = []

    async def ask(service, operation, **parameters):
        asked.append(parameters)
        raise AssertionError("asked")

    credentials = await create_role_session(Settings(), ask).get_credentials()
    with pytest.raises(AssertionError, match="asked"):
        await credentials.get_frozen_credentials()
    (parameters,) = asked
    assert parameters["RoleArn"] == ROLE
    assert parameters.get("ExternalId") == given


async def test_aws_endpoint_url(emulated):
    with emulated() as aws:
        await who()
        assert len(aws.calls) == 1
    assert not (await who()).valid, "it is there no more, and nobody else is asked"


async def test_aws_endpoint_url_s3(emulated, monkeypatch):
    """It is for S3 alone; an address in the program has priority over all variables."""
    with emulated() as aws:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, aws.environment[name])
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{len(name)}")
        explicit = [Settings(endpoint_url=aws.url), Settings(AWS_ENDPOINT_URL=aws.url)]
        for settings in (Settings(s3_endpoint_url=aws.url), *explicit):
            async with open_aws(settings) as opened:
                assert await endpoint_of(opened, "s3") == aws.url
        env_without("AWS_ENDPOINT_URL")
        for settings in (Settings(), Settings()):
            async with open_aws(settings) as opened:
                assert await endpoint_of(opened, "s3") == "http://127.0.0.1:19"
                assert await endpoint_of(opened, "ecs") == "http://127.0.0.1:16"
        async with open_aws(Settings(role_arn=ROLE)) as opened:
            assert await endpoint_of(opened, "s3") == "http://127.0.0.1:19"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "")
        async with open_aws(Settings()) as opened:
            assert await endpoint_of(opened, "s3") == "http://127.0.0.1:16"


async def test_aws_subnet_id(task_of):
    (first, second) = (subnet_id(zone) for zone in "ab")
    asked = await task_of(AWS_SUBNET_ID=f"{first}, {second}")
    assert network(asked)["subnets"] == [first, second]


async def test_aws_subnet_id_makes_it_fargate(monkeypatch, caplog):
    """And nothing else does, whatever credentials there are."""
    caplog.set_level("INFO", "cloudburst")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    default_backend(Settings())
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(
        "no subnet is configured: rendering on this machine, although AWS_ACCESS_KEY_ID is set: "
    )
    caplog.clear()
    write_env("AWS_SUBNET_ID=subnet-1\n")
    default_backend(Settings())
    assert "subnet subnet-1 is configured: rendering on Fargate" in caplog.text


async def test_aws_security_group_id(task_of):
    asked = await task_of(AWS_SECURITY_GROUP_ID=f"{WORKER_GROUP_ID},{WORKER_GROUP_ID}")
    assert network(asked)["securityGroups"] == [WORKER_GROUP_ID, WORKER_GROUP_ID]


async def test_aws_security_group_id_by_default(task_of):
    asked = await task_of(AWS_SECURITY_GROUP_ID=None)
    assert "securityGroups" not in network(asked), "AWS takes the default one of the VPC"


async def test_ecs_cluster_name_and_ecs_task_definition(emulated, monkeypatch):
    with emulated(**ONLY_THERE) as aws:
        aws.register(cluster="other-cluster", family="other-task")
        monkeypatch.setenv("ECS_CLUSTER_NAME", "other-cluster")
        monkeypatch.setenv("ECS_TASK_DEFINITION", "other-task")
        assert (await launched(aws)).cluster == "other-cluster"
        await anyio.sleep(0.5)  # by then ECS knows the task
        (task,) = await FargateOperationV1().list_running_tasks()
        assert task.task_definition == "other-task:1"


async def test_ecs_cluster_name_and_ecs_task_definition_by_default(emulated):
    with emulated(**ONLY_THERE) as aws:
        env_without("ECS")
        assert (await launched(aws)).cluster == "cloudburst-cluster"
        await anyio.sleep(0.5)
        (task,) = await FargateOperationV1().list_running_tasks()
        assert task.task_definition == "cloudburst-task:1"


@pytest.mark.nightly
@pytest.mark.timeout(60)  # moto takes its time to start
async def test_docker_image(monkeypatch):
    """What ``cloudburst init`` puts into the task definition."""

    async def here():
        return "203.0.113.7"

    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 1.0)  # the emulator's takes 0.6 s
    with FargateEmulator(EmulatorConfig.quick(prepared=False)) as aws:
        for image in ("public", "registry.example/cloudburst:2"):
            settings = Settings(**aws.environment | {"DOCKER_IMAGE": image})
            report = await init(settings, options=InitOptions(env_file=None), find_address=here)
            name = report.environment["ECS_TASK_DEFINITION"]
            async with open_aws(settings) as ours:
                answer = await ours.call("ecs", "describe_task_definition", taskDefinition=name)
            (container, *_) = answer["taskDefinition"]["containerDefinitions"]
            assert container["name"] == "cloudburst-processor"
            assert container["portMappings"][0]["containerPort"] == 5000
            assert container["logConfiguration"]["options"]["awslogs-group"] == "/ecs/cloudburst"
            public = "betashow/video-generation-api:latest"
            assert container["image"] == (public if image == "public" else image)


KEY = "fixed-key-0123456789"
ACCOUNT_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def set_in_environment(monkeypatch, variables, *names):
    """Move these variables from ``.env`` to the environment."""
    for name in names:
        monkeypatch.setenv(name, variables[name])
        env_without(name)


@pytest.mark.parametrize("place", ["", ".env", "environment"])
async def test_video_api_auth_key(emulated, scenes, monkeypatch, place):
    with emulated() as aws:
        if place == "environment":
            set_in_environment(monkeypatch, aws.environment, *ACCOUNT_KEYS)
            monkeypatch.setenv("VIDEO_API_AUTH_KEY", KEY)
        elif place:
            env_with(f"VIDEO_API_AUTH_KEY={KEY}")
        for _ in range(2):
            assert (await FargateOperationV1().execute_batch(scenes(1))).success
        sent = {task.environment["AUTHENTICATION_KEY"] for task in aws.tasks}
    assert sent == {KEY} if place else len(sent) == 2


@pytest.mark.parametrize("named", ["keys", "role"])
async def test_a_key_of_the_environment_does_not_go_to_tasks_of_an_account_in_a_file(
    emulated, monkeypatch, caplog, named
):
    """The file may be part of a folder from somebody else."""
    monkeypatch.setenv("VIDEO_API_AUTH_KEY", KEY)
    with emulated() as aws:
        if named == "role":
            set_in_environment(monkeypatch, aws.environment, *ACCOUNT_KEYS)
            env_with(f"AWS_ROLE_ARN={ROLE}")
        async with fargate(Settings())(Timeouts(), Tier.STANDARD) as backend:
            assert backend.new_secrets().key not in {"", KEY}
        async with fargate(Settings(auth_key=KEY))(Timeouts(), Tier.STANDARD) as backend:
            assert backend.new_secrets().key == KEY, "what a program passes is for this account"
    (line,) = [r.getMessage() for r in caplog.records if "random keys" in r.getMessage()]
    assert "VIDEO_API_AUTH_KEY is not from the file of AWS_" in line
    assert line.endswith("in .env, so it may be for others")
    assert KEY not in caplog.text


@pytest.mark.parametrize(("minutes", "seconds"), [(None, 900), ("2", 120)])
async def test_api_timeout_minutes(cloud, scenes, monkeypatch, minutes, seconds):
    if minutes:
        monkeypatch.setenv("API_TIMEOUT_MINUTES", minutes)
    await execute_parallel_batches(scenes(1))
    assert cloud.timeouts.scene == seconds


@pytest.mark.parametrize(("given", "seconds"), [(None, 300), ("7", 7)])
async def test_api_request_timeout_seconds(cloud, scenes, monkeypatch, given, seconds):
    if given:
        monkeypatch.setenv("API_REQUEST_TIMEOUT_SECONDS", given)
    await execute_parallel_batches(scenes(1))
    assert cloud.timeouts.ready == seconds


async def test_results_dir(cloud, scenes, monkeypatch, tmp_path):
    async def folder(**arguments):
        (file,) = (await execute_parallel_batches(scenes(1), **arguments)).downloaded_files
        return Path(file).parent.parent

    assert await folder() == tmp_path / "cloudburst_fargate_results"
    monkeypatch.setenv("RESULTS_DIR", "results")
    assert await folder() == tmp_path / "results"
    assert await folder(saving_dir="here") == tmp_path / "here"
    with pytest.raises(ConfigurationError, match="saving_dir: not the name of a bucket"):
        await folder(saving_dir="s3://X/out/")
    with pytest.raises(ConfigurationError, match=r"a URL: 'https://example\.com/out'; "):
        await folder(saving_dir="https://example.com/out?key=secret")
    monkeypatch.setenv("RESULTS_DIR", "s3://films/out")
    assert Settings().results == S3Prefix("films", "out/")
    monkeypatch.setenv("RESULTS_DIR", "ftp://films/out")
    with pytest.raises(ConfigurationError, match="expected a path or an S3 folder"):
        await folder()


async def test_client_reads_env_and_the_environment_before_it(monkeypatch, caplog):
    caplog.set_level("INFO", "cloudburst")
    assert Client().backends
    assert "no subnet is configured: rendering on this machine" in caplog.text
    write_env("AWS_SUBNET_ID=subnet-1\n")
    assert Client().backends
    assert "subnet subnet-1 is configured: rendering on Fargate" in caplog.text
    monkeypatch.setenv("AWS_SUBNET_ID", "subnet-2")
    assert Client().backends
    assert "subnet subnet-2 is configured: rendering on Fargate" in caplog.text


async def test_the_environment_goes_before_env(monkeypatch):
    write_env("AWS_SUBNET_ID=from-env\nECS_CLUSTER_NAME=from-env\n")
    monkeypatch.setenv("AWS_SUBNET_ID", "from-environment")
    settings = Settings()
    assert (settings.subnets, settings.cluster) == (("from-environment",), "from-env")


@pytest.mark.parametrize(("value", "said"), [(None, "ENABLED"), ("false", "DISABLED")])
async def test_cloudburst_public_address(task_of, value, said):
    asked = await task_of(CLOUDBURST_PUBLIC_ADDRESS=value)
    assert network(asked)["assignPublicIp"] == said
    assert bool(calculate_fargate_cost(60).cost_breakdown.ipv4_cost) is (value is None)


@pytest.mark.parametrize(("value", "seconds"), [(None, "3600"), ("120", "120")])
async def test_cloudburst_lifetime(task_of, value, seconds):
    asked = await task_of(CLOUDBURST_LIFETIME=value)
    watchdog = asked["overrides"]["containerOverrides"][1]
    assert watchdog == {"name": "cloudburst-watchdog", "command": ["sleep", seconds]}


async def test_cloudburst_idle_and_cloudburst_protocol(emulated, monkeypatch):
    """The public image has no word for it; ours has."""
    monkeypatch.setenv("CLOUDBURST_IDLE", "90")

    async def variables():
        with emulated(protocol="native", **ONLY_THERE) as aws:
            asked = await asked_for(aws)
        environment = asked["overrides"]["containerOverrides"][0]["environment"]
        return {one["name"]: one["value"] for one in environment}

    assert float((await variables())["CLOUDBURST_IDLE_SECONDS"]) == 90
    monkeypatch.setenv("CLOUDBURST_PROTOCOL", "onestep")
    assert "CLOUDBURST_IDLE_SECONDS" not in await variables()


def test_cloudburst_s3_encryption_and_cloudburst_s3_requester_pays():
    key = "arn:aws:kms:us-east-1:123456789012:key/1234"
    for value, headers in {
        "AES256": {"": "AES256"},
        "aws:kms": {"": "aws:kms"},
        key: {"": "aws:kms", "-aws-kms-key-id": key},
    }.items():
        write_env(f"CLOUDBURST_S3_ENCRYPTION={value}\nCLOUDBURST_S3_REQUESTER_PAYS=1\n")
        found = parse_s3_encryption(Settings().s3_encryption).headers
        assert found == {f"x-amz-server-side-encryption{end}": one for end, one in headers.items()}
        assert Settings().s3_requester_pays
    write_env("CLOUDBURST_S3_ENCRYPTION=aes256\n")
    with pytest.raises(ConfigurationError, match="expected AES256, aws:kms"):
        Settings()


def test_cloudburst_private_inputs():
    assert not Settings().private_inputs
    write_env("CLOUDBURST_PRIVATE_INPUTS=1\n")
    assert Settings().private_inputs


async def test_cloudburst_ephemeral_storage_and_cloudburst_platform_version(task_of):
    asked = await task_of(CLOUDBURST_EPHEMERAL_STORAGE="30", CLOUDBURST_PLATFORM_VERSION="1.4.0")
    assert asked["platformVersion"] == "1.4.0"
    assert asked["overrides"]["ephemeralStorage"] == {"sizeInGiB": 30}


async def test_cloudburst_capacity(emulated, monkeypatch):
    monkeypatch.setenv("CLOUDBURST_CAPACITY", "FARGATE_SPOT")
    monkeypatch.setenv("CLOUDBURST_PUBLIC_ADDRESS", "false")
    with emulated(**ONLY_THERE) as aws:
        async with fargate(Settings())(Timeouts(), Tier.STANDARD) as backend:
            task = await backend.launcher.launch(REQUEST)
            usage = (await backend.launcher.describe(task)).usage
        assert aws.tasks[0].spot
    hour = float(3600 * usage.usd_per_second)
    assert hour == pytest.approx(0.09874 * 0.3184, rel=0.001)


@pytest.mark.parametrize("capacity", ["", "EC2", "FARGATE_SPOT:3,FARGATE:1"])
def test_cloudburst_capacity_that_is_unknown(monkeypatch, capacity):
    monkeypatch.setenv("CLOUDBURST_CAPACITY", capacity)
    with pytest.raises(ConfigurationError, match="'FARGATE' or 'FARGATE_SPOT'"):
        Settings()


@pytest.mark.parametrize(("ladder", "tasks"), [("on-demand", [False]), ("subnet,size", [])])
async def test_cloudburst_fallbacks(emulated, monkeypatch, ladder, tasks):
    """Where there is no Spot, the next launch asks for what the ladder allows."""
    monkeypatch.setenv("CLOUDBURST_CAPACITY", "FARGATE_SPOT")
    monkeypatch.setenv("CLOUDBURST_FALLBACKS", ladder)
    with emulated(
        **ONLY_THERE, capacity_shortages=[CapacityShortage(provider="FARGATE_SPOT")]
    ) as aws:
        async with fargate(Settings())(Timeouts(), Tier.STANDARD) as backend:
            for number in range(8):  # more than there are rungs
                with suppress(CapacityError):
                    await backend.launcher.launch(replace(REQUEST, token=f"token {number}"))
                    break
        assert [task.spot for task in aws.tasks] == tasks


def test_cloudburst_fonts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_env("CLOUDBURST_FONTS=fonts")
    with open_remote_inputs() as remote:
        assert remote.font_folder() == Path("fonts")


def test_cloudburst_base_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_env("CLOUDBURST_BASE_IMAGE=registry.example.com/python:3.13")
    options = ImageOptions.from_settings(Settings())
    assert (options.base, options.base_credentials) == ("registry.example.com/python:3.13", None)
    assert ImageOptions.from_settings(Settings(), base="other:3.13").base == "other:3.13"


def test_each_variable_is_here():
    tested = " ".join(name for name in globals() if name.startswith("test_"))
    assert [name for name in NAMES if name.lower() not in tested and "DEFAULT" not in name] == []
