"""Logs show no secret, with any handler and any logger."""

from __future__ import annotations

import io
import json
import logging
import re
from urllib.parse import parse_qs, quote, urlsplit

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from pydantic import SecretStr

from cloudburst import redaction
from cloudburst.models.task import TaskState
from cloudburst.redaction import (
    FILTERED_LOGGERS,
    SecretOwner,
    hide_secrets,
    install_filters,
    redact,
)
from cloudburst.workers.http.certificates import new_secrets
from support.fargate_backend import account, backend_of, request, until

pytestmark = pytest.mark.anyio

ROLE = "arn:aws:iam::123456789012:role/renderer"


@pytest.fixture
def log():
    """All that any logger says, from its own handlers and from the root's."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    loggers = [
        logging.getLogger(),
        *map(logging.getLogger, (*FILTERED_LOGGERS, "botocore.parsers")),
    ]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    yield text
    for logger, level in before:
        logger.setLevel(level)
        logger.removeHandler(handler)


async def test_a_whole_life_at_debug_shows_no_secret(log):
    secrets = new_secrets()
    with account(protocol="native", worker=("sleep", "60")) as emulator:
        secret_key = emulator.environment["AWS_SECRET_ACCESS_KEY"]
        async with backend_of(emulator, role_arn=ROLE) as backend:
            task = await backend.launcher.launch(request("one", secrets=secrets))
            await until(backend, task, lambda s: s.address)
            await backend.launcher.stop(task, reason="done")
            await until(backend, task, TaskState.STOPPED, seconds=30)
    said = log.getvalue()
    for spoken in ("RunTask", "DescribeTasks", "StopTask", "AssumeRole", "Response body"):
        assert spoken in said  # else there was nothing to hide
    assert re.search("AUTHENTICATION_KEY.{1,20}value.{1,10}[*]{3}", said)
    lines = [line for line in secrets.private_key.splitlines() if not line.startswith("-")]
    assert len(lines) >= 3
    for secret in (secrets.key, *lines, secret_key):
        assert secret not in said
    assert re.search("<SessionToken>[*]{3}", said)
    for pattern in (
        r"SecretAccessKey>([^<]+)",
        r"SessionToken>([^<]+)",
        r"x-amz-security-token:(\S+)",
        r"X-Amz-Security-Token': b'([^']+)",
        r"Credential=[^,]+, (.{3})",
        r"""AUTHENTICATION_KEY", ?"value": ?"([^"]+)""",
    ):
        assert set(re.findall(pattern, said)) == {"***"}, pattern
    assert not re.search("Signature=[0-9a-f]", said)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
async def test_presigned_addresses_show_no_signature(log, version):
    token = "the/session+token"
    session = aioboto3.Session("AKIAONE", "the secret key", token, region_name="us-east-1")
    install_filters()
    config = AioConfig(signature_version=version)
    async with session.client("s3", config=config) as s3:
        url = await s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
    install_filters()
    logging.getLogger("httpx").info("GET %s", url)
    said = log.getvalue()
    assert "GET https://" in said
    signature = parse_qs(urlsplit(url).query)["Signature" if version == "s3" else "X-Amz-Signature"]
    for secret in (quote(token, safe=""), token, quote(signature[0], safe="")):
        assert secret not in said.rpartition("httpx INFO GET")[2]


async def test_a_fixed_key_is_hidden_in_every_form(log):
    key = 'a "VeryOwn" key/ü'
    with account(provisioning=600) as emulator:
        async with backend_of(emulator, auth_key=SecretStr(key)) as backend:
            await backend.launcher.launch(request("one", secrets=backend.new_secrets()))
    said = log.getvalue()
    assert "RunTask" in said
    assert key not in said
    assert json.dumps(key)[1:-1] not in said
    assert "VeryOwn" not in said


async def test_tracebacks_and_arguments_are_cleaned_too(log):
    hide_secrets("hidden-value-1")
    logger = logging.getLogger("botocore.endpoint")
    try:
        int("hidden-value-1")
    except ValueError:
        logger.exception("%s failed", {"key": "hidden-value-1"})
    unfit = logger.makeRecord("botocore.endpoint", 10, "", 0, "%d", ("no number",), None)
    assert logger.filter(unfit)
    said = log.getvalue()
    assert "ValueError: invalid literal for int() with base 10: '***'" in said
    assert "hidden-value-1" not in said


def test_a_secret_that_is_hidden_again_is_forgotten_last(monkeypatch):
    """A page about an old task hides its key first, and then a certificate of many lines."""
    monkeypatch.setitem(redaction._written_forms, SecretOwner.WORKER, {})
    monkeypatch.setattr(redaction, "MAX_WRITTEN_FORMS", 8)
    hide_secrets("old-key", *(f"other-key-{number}" for number in range(7)))
    hide_secrets("old-key", "certificate")
    assert redact("old-key and certificate") == "*** and ***"


async def test_keys_of_workers_do_not_displace_those_of_a_role(log, monkeypatch):
    for owner in (SecretOwner.WORKER, SecretOwner.ROLE):
        monkeypatch.setitem(redaction._written_forms, owner, {})
    with account() as emulator:
        async with backend_of(emulator, role_arn=ROLE) as backend:
            await backend.launcher.find("run1")
            hide_secrets("first-worker-key", *(f"worker-key-{number}" for number in range(4096)))
            await backend.launcher.find("run1")
    said = log.getvalue()
    assert re.search("X-Amz-Security-Token", said)
    monkeypatch.setattr(redaction, "_PATTERNS", ())  # only values that are remembered
    roles = tuple(redaction._written_forms[SecretOwner.ROLE])
    assert len(roles) >= 2
    assert redact("first-worker-key") == "first-worker-key"
    assert redact(" ".join(roles)) == " ".join(["***"] * len(roles))


async def test_loggers_that_come_later_are_watched_with_the_next_secret(log):
    logger = logging.getLogger("botocore.a_module_of_tomorrow")
    hide_secrets("hidden-value-2")
    logger.warning("hidden-value-2")
    logging.getLogger("somebody.elses").warning("this is hidden-value-2 and theirs to hide")
    assert log.getvalue().count("hidden-value-2") == 1


@pytest.mark.parametrize(
    "text",
    [
        "{'name': 'AUTHENTICATION_KEY', 'value': 'THIS'}",
        '{"name":"AUTHENTICATION_KEY","value":"THIS"}',
        r"b\'{\"name\": \"AUTHENTICATION_KEY\", \"value\": \"THIS\"}\'",
        '{"value": "THIS", "name": "AUTHENTICATION_KEY"}',
        "{'SecretAccessKey': 'THIS', 'SessionToken': 'THIS'}",
        "{'X-Amz-Security-Token': b'THIS', 'Host': 'x'}",
        "{'Authorization': b'AWS4-HMAC-SHA256 Credential=A/x, SignedHeaders=a, Signature=THIS'}",
        "x-amz-security-token:THIS\n",
        "https://x/?a=b&X-Amz-Security-Token=THIS&X-Amz-Signature=THIS",
        "{'X-Authentication-Key': 'THIS'}",
        "authorization: Bearer THIS",
        '{"accessToken": "THIS", "refreshToken": "THIS"}',
        "-----BEGIN EC PRIVATE KEY-----\\nTHIS\\nTHIS==\\n-----END EC PRIVATE KEY-----",
    ],
)
def test_shapes_that_secrets_have(text):
    assert "THIS" not in redact(text)
    assert redact("nothing of it") == "nothing of it"
