"""The AWS client, against an emulated account."""

from __future__ import annotations

import anyio
import pytest
from pydantic import SecretStr

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.client.responses import translate_errors
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    ClosedError,
    ConfigurationError,
    CredentialsError,
    LaunchError,
    NoAnswerError,
    Remedy,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskId
from cloudburst.testing import Fault
from support.fargate_backend import (
    RAISED,
    account,
    backend_of,
    count,
    profile,
    request,
    session_keys,
    settings_of,
    until,
)

pytestmark = pytest.mark.anyio

ROLE = "arn:aws:iam::123456789012:role/renderer"
LIST = ("ecs", "list_clusters", "clusterArns")
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on port 9."""


def keys(emulator, operation):
    return [call.key for call in emulator.calls if call.operation == operation]


async def test_the_account_is_asked_for_once():
    with account() as emulator:
        async with open_aws(settings_of(emulator)) as aws:
            assert await aws.account_id() == await aws.account_id() == "123456789012"
            assert (aws.region, aws.endpoint_url) == ("us-east-1", emulator.url)
        assert count(emulator, "GetCallerIdentity") == 1
        with pytest.raises(ClosedError):
            await aws.collect_pages(*LIST)


async def test_all_pages_are_read():
    with account(provisioning=600, buckets=RAISED, disagreement=0) as emulator:
        settings = settings_of(emulator)
        async with open_aws(settings) as aws:
            for _ in range(11):
                await aws.call(
                    "ecs",
                    "run_task",
                    cluster=settings.cluster,
                    taskDefinition=settings.task_definition,
                    launchType="FARGATE",
                    networkConfiguration={"awsvpcConfiguration": {"subnets": settings.subnets[:1]}},
                    count=10,
                )
            found = await aws.collect_pages(
                "ecs", "list_tasks", "taskArns", cluster=settings.cluster
            )
            assert sorted(found) == sorted(it.arn for it in emulator.tasks)
        assert count(emulator, "ListTasks") == 2


async def test_questions_are_repeated_and_orders_only_when_nothing_was_done():
    with account() as emulator:
        async with open_aws(settings_of(emulator)) as aws:
            emulator.add_fault(Fault(operation="ListClusters", kind="dropped"))
            emulator.add_fault(Fault(operation="ListClusters"))
            emulator.add_fault(Fault(operation="ListClusters", code="ServerException", status=500))
            assert len(await aws.collect_pages(*LIST)) == 1
            assert count(emulator, "ListClusters") == 4

            emulator.add_fault(Fault(operation="CreateCluster", code="ThrottlingException"))
            await aws.call("ecs", "create_cluster", clusterName="new")
            assert count(emulator, "CreateCluster") == 2
            emulator.add_fault(Fault(operation="CreateCluster", kind="lost"))
            with pytest.raises(NoAnswerError):
                await aws.call("ecs", "create_cluster", clusterName="new")
            assert count(emulator, "CreateCluster") == 3

            emulator.add_fault(Fault(operation="StopTask", times=2))
            for _ in range(2):
                with pytest.raises(ThrottledError):
                    await aws.call("ecs", "stop_task", cluster="new", task="0" * 32)
            assert count(emulator, "StopTask") == 2


async def test_questions_are_not_repeated_for_ever():
    with account() as emulator:
        emulator.add_fault(Fault(operation="ListClusters", kind="dropped", times=None))
        async with open_aws(settings_of(emulator)) as aws:
            with anyio.fail_after(15), pytest.raises(NoAnswerError):
                await aws.collect_pages(*LIST)
        assert count(emulator, "ListClusters") == 4


async def test_an_answer_that_takes_too_long_is_none(monkeypatch):
    """Each byte of it may come in time, so that no timeout of the connection ends it."""
    monkeypatch.setattr("cloudburst.aws.client.client.CALL_TIMEOUT", 0.5)
    with account() as emulator:
        async with open_aws(settings_of(emulator)) as aws:
            await aws.collect_pages(*LIST)
            emulator.add_fault(Fault(operation="StopTask", kind="delay", seconds=40))
            with anyio.fail_after(20), pytest.raises(NoAnswerError):
                await aws.call("ecs", "stop_task", cluster="c", task="t")


async def test_a_closed_port_is_no_answer():
    async with open_aws(
        Settings(access_key_id="a", secret_access_key="b", endpoint_url=NOWHERE)
    ) as aws:
        with pytest.raises(NoAnswerError):
            await aws.call("ecs", "stop_task", cluster="c", task="t")


async def test_refusals_of_other_services_have_the_same_errors():
    with account(denied=frozenset({"ec2:DescribeVpcs", "sts:GetCallerIdentity"})) as emulator:
        async with open_aws(settings_of(emulator)) as aws:
            with pytest.raises(AccessDeniedError, match="UnauthorizedOperation"):
                await aws.call("ec2", "describe_vpcs")
            with pytest.raises(AccessDeniedError, match="AccessDenied"):
                await aws.account_id()
            with pytest.raises(ResourceMissingError, match="NotFound"):
                await aws.call("ec2", "describe_subnets", SubnetIds=["subnet-00000000000000000"])
            with pytest.raises(AWSError) as caught:
                await aws.call("ecs", "describe_tasks", cluster="cloudburst-cluster", tasks=[])
            assert caught.value.code == "InvalidParameterException"


async def test_parameters_of_the_wrong_kind_are_not_quoted():
    with account() as emulator:
        async with open_aws(settings_of(emulator)) as aws:
            with pytest.raises(LaunchError, match="parameters of the wrong kind") as caught:
                await aws.call("ecs", "run_task", taskDefinition=["a secret"])
            assert "secret" not in str(caught.value)
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__


async def test_no_proxy_leads_to_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with account() as emulator:
        async with open_aws(settings_of(emulator)) as aws:
            assert await aws.collect_pages(*LIST)


async def test_another_region_for_what_is_not_everywhere():
    with account() as emulator:
        async with open_aws(settings_of(emulator, region="eu-west-1")) as aws:
            assert await aws.call("sts", "get_caller_identity", in_region="us-east-1")
            assert aws.region == "eu-west-1"


# Who we are.


async def test_no_credentials_and_a_profile_that_is_not_there():
    async with open_aws(Settings(endpoint_url=NOWHERE)) as aws:
        with pytest.raises(CredentialsError) as caught:
            await aws.account_id()
    what_to_do = "run aws configure or aws sso login, or set AWS_PROFILE"
    assert str(caught.value) == f"Unable to locate credentials; {what_to_do}"
    assert caught.value.remedy is Remedy.FIX_SETUP
    with pytest.raises(CredentialsError) as caught:
        async with open_aws(Settings(profile="nobody")):
            pass
    assert str(caught.value) == f"The config profile (nobody) could not be found; {what_to_do}"
    assert caught.value.remedy is Remedy.FIX_SETUP


LOGIN = "login_session = arn:aws:iam::123456789012:user/me\n"


@pytest.mark.parametrize(
    ("config", "name", "region"),
    [
        (f"[default]\n{LOGIN}", "default", ""),
        (
            f"[default]\nregion = eu-west-1\n[profile me]\n{LOGIN}region = eu-west-3\n",
            "me",
            "eu-west-3",
        ),
    ],
)
async def test_a_profile_of_aws_login_is_told_how_it_is_used(tmp_path, config, name, region):
    (tmp_path / "config").write_text(config)
    settings = Settings(profile=None if name == "default" else name, endpoint_url=NOWHERE)
    async with open_aws(settings) as aws:
        with pytest.raises(CredentialsError) as caught:
            await aws.account_id()
    where = f"aws configure set region {region} --profile {name}-process && " if region else ""
    assert str(caught.value) == (
        f"the profile {name} has credentials of aws login, which the installed boto cannot read; "
        f'run {where}aws configure set credential_process "aws configure export-credentials '
        f'--profile {name} --format process" --profile {name}-process, and set '
        f"AWS_PROFILE={name}-process"
    )
    assert caught.value.remedy is Remedy.FIX_SETUP


async def test_a_profile(tmp_path):
    (tmp_path / "config").write_text("[profile mine]\nregion = eu-central-1\n")
    with account(region="eu-central-1") as emulator:
        mine = emulator.new_key()
        (tmp_path / "credentials").write_text(profile("mine", mine))
        settings = Settings(profile="mine", endpoint_url=emulator.url)
        async with open_aws(settings) as aws:
            assert aws.region == "eu-central-1"
            await aws.account_id()
        assert keys(emulator, "GetCallerIdentity") == [mine["AWS_ACCESS_KEY_ID"]]


async def test_a_role_is_assumed_and_assumed_again_before_it_ends():
    """boto renews ten minutes before the end, so this role is renewed for each call."""
    with account(role_seconds=300) as emulator:
        async with open_aws(settings_of(emulator, role_arn=ROLE)) as aws:
            for _ in range(3):
                await aws.call("ecs", "list_clusters")
        assumed = keys(emulator, "ListClusters")
        assert len(set(assumed)) == 3
        assert all(key.startswith("ASIA") for key in assumed)
        assert set(keys(emulator, "AssumeRole")) == {emulator.environment["AWS_ACCESS_KEY_ID"]}


async def test_credentials_of_a_role_that_expire_early_are_replaced():
    with account() as emulator:
        async with open_aws(settings_of(emulator, role_arn=ROLE)) as aws:
            await aws.call("ecs", "list_clusters")
            emulator.expire_credentials()
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(aws.call, "ecs", "list_clusters")
            assert count(emulator, "AssumeRole") == 2
            emulator.expire_credentials()
            with pytest.raises(CredentialsError, match="ExpiredToken"):  # not again so soon
                await aws.call("ecs", "list_clusters")


async def test_a_role_that_cannot_be_assumed_is_an_error_and_nothing_else_is_tried():
    with account(denied=frozenset({"sts:AssumeRole"})) as emulator:
        async with open_aws(settings_of(emulator, role_arn=ROLE)) as aws:
            with pytest.raises(
                CredentialsError, match=r"role/renderer cannot be assumed: .*Denied"
            ):
                await aws.call("ecs", "list_clusters")
            with pytest.raises(CredentialsError, match="cannot be assumed"):
                await aws.account_id()
        assert {call.operation for call in emulator.calls} == {"AssumeRole"}


async def test_a_pods_own_role_is_botos_affair(monkeypatch):
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere")
    with account() as emulator:
        async with open_aws(settings_of(emulator, role_arn=ROLE)) as aws:
            await aws.call("ecs", "list_clusters")
        assert count(emulator, "AssumeRole") == 0


async def test_a_profile_that_was_renewed_meanwhile_is_read_again(tmp_path):
    def renew():
        made = session_keys(emulator)
        (tmp_path / "credentials").write_text(profile("default", made))
        return made["AWS_ACCESS_KEY_ID"]

    with account() as emulator:
        old = renew()
        async with open_aws(Settings(endpoint_url=emulator.url)) as aws:
            await aws.call("ecs", "list_clusters")
            emulator.expire_credentials()
            new = renew()
            await aws.call("ecs", "list_clusters")
        assert keys(emulator, "ListClusters") == [old, old, new]


async def test_expired_keys_are_an_error_and_the_stop_is_tried_all_the_same():
    with account(provisioning=600) as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            emulator.expire_credentials()
            with pytest.raises(CredentialsError):
                await backend.launcher.launch(request("two"))
            with pytest.raises(CredentialsError):
                await backend.launcher.stop(TaskId(task), reason="done")
            assert count(emulator, "StopTask") == 1
            with pytest.raises(CredentialsError):
                await until(backend, task, lambda s: s.address)


async def test_a_role_expires_while_a_task_runs():
    with account(provisioning=600) as emulator:
        async with backend_of(emulator, role_arn=ROLE) as backend:
            task = await backend.launcher.launch(request("one"))
            emulator.expire_credentials()
            await backend.launcher.stop(task, reason="done")
        assert emulator.live == ()


def test_trio_is_told_that_it_will_not_do():
    async def open_it():
        async with open_aws(Settings()):
            pass

    with pytest.raises(ConfigurationError, match="asyncio"):
        anyio.run(open_it, backend="trio")


def test_what_is_no_error_of_aws_passes_through():
    with pytest.raises(ZeroDivisionError), translate_errors("run_task"):
        _ = 1 / 0


def test_settings_keep_secrets_to_themselves():
    settings = Settings(secret_access_key=SecretStr("hidden"), session_token="hidden too")
    assert "hidden" not in repr(settings)
