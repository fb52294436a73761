"""A host that ``.env`` names gets secrets of the same file only."""

from __future__ import annotations

import pytest
from anyio import to_thread

from cloudburst import Settings
from cloudburst.aws.client import credentials
from cloudburst.aws.client.client import open_aws
from cloudburst.aws.client.credentials import create_session
from cloudburst.errors import ConfigurationError
from cloudburst.testing import EmulatorConfig, FargateEmulator

pytestmark = [pytest.mark.anyio, pytest.mark.real]

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def emulator():
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        yield emulator


@pytest.fixture
def write_env(tmp_path, monkeypatch, emulator):
    """Write these variables of the emulator, and others, to ``.env`` of the current folder."""
    monkeypatch.chdir(tmp_path)
    credentials._announce.cache_clear()

    def write(*names, **others):
        variables = {name: emulator.environment[name] for name in names} | others
        (tmp_path / ".env").write_text("".join(f"{k}={v}\n" for k, v in variables.items()))

    return write


def announcements(caplog):
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == credentials.logger.name
    ]


async def call(settings=None, **options):
    async with open_aws(settings or Settings(region="us-east-1"), **options) as aws:
        return await aws.call("sts", "get_caller_identity")


async def test_an_endpoint_and_credentials_of_one_file_are_used_and_the_host_is_logged_once(
    emulator, write_env, caplog
):
    write_env("AWS_ENDPOINT_URL", *KEYS)
    for _ in range(2):
        await call()
    assert len(emulator.calls) == 2
    host = emulator.url.removeprefix("http://")
    assert announcements(caplog) == [("WARNING", f"AWS_ENDPOINT_URL in .env is {host}")]


@pytest.mark.parametrize(
    ("in_file", "elsewhere", "named"),
    [
        ((), KEYS, "AWS_ACCESS_KEY_ID"),
        (KEYS[:1], KEYS[1:], "AWS_SECRET_ACCESS_KEY"),
        ((), (), "the credentials of boto"),
        (KEYS, ("AWS_SESSION_TOKEN",), "AWS_SESSION_TOKEN"),
        (KEYS, ("VIDEO_API_AUTH_KEY",), "VIDEO_API_AUTH_KEY"),
    ],
)
async def test_an_endpoint_of_the_file_gets_no_secret_from_elsewhere(
    emulator, write_env, in_file, elsewhere, named
):
    for endpoint in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        write_env(*in_file, **{endpoint: emulator.url})
        refused = rf"{endpoint} in \.env is .*, but {named} is not from that file"
        with pytest.MonkeyPatch.context() as patch:
            for name in elsewhere:
                patch.setenv(name, emulator.environment.get(name, "a1b2c3d4e5"))
            with pytest.raises(ConfigurationError, match=refused):
                await call()
    assert not emulator.calls


async def test_an_endpoint_of_the_file_gets_no_credentials_of_a_session(emulator, write_env):
    write_env("AWS_ENDPOINT_URL", *KEYS)
    own = Settings(_env_file=None, access_key_id="a", secret_access_key="b")
    session = await to_thread.run_sync(create_session, own)
    with pytest.raises(ConfigurationError, match="but the credentials of boto is not"):
        await call(session=session)
    assert not emulator.calls


async def test_an_endpoint_of_the_environment_has_priority_over_the_file(
    emulator, write_env, monkeypatch, caplog
):
    write_env(*KEYS, AWS_ENDPOINT_URL="https://stranger.example")
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    await call()
    assert len(emulator.calls) == 1
    assert not announcements(caplog)


@pytest.mark.parametrize("service", ["ecs", "ec2", "sts", "iam"])
async def test_plain_http_to_another_machine_is_refused_for_every_service(service):
    settings = Settings(
        access_key_id="a", secret_access_key="b", endpoint_url="http://u:p@vm.example:80"
    )
    async with open_aws(settings) as aws:
        with pytest.raises(
            ConfigurationError, match=rf"of {service} is http://vm\.example:80, but"
        ):
            await aws.call(service, "list_users" if service == "iam" else "any")
