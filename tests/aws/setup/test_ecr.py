"""The login of the account's registry goes to that registry, and to nobody else."""

from __future__ import annotations

import base64
import json
import logging

import pytest

from cloudburst.aws.setup.ecr import log_in_to_ecr
from cloudburst.errors import ConfigurationError
from cloudburst.net.registry.http import Credentials
from cloudburst.redaction import redact
from support.aws_answers import Answer, answering

pytestmark = pytest.mark.anyio

OURS = "https://123456789012.dkr.ecr.us-east-1.amazonaws.com"


def token(text):
    return base64.b64encode(text.encode()).decode()


class Answering:
    """An account whose ECR answers one thing."""

    region = "us-east-1"

    def __init__(self, *, login="AWS:secret-of-twelve-hours", url=OURS, emulated=False):
        self.endpoint_url = "http://127.0.0.1:1" if emulated else None
        entry = {"authorizationToken": token(login), "proxyEndpoint": url}
        self._data = [entry]

    async def account_id(self):
        return "123456789012"

    async def call(self, service, operation, **parameters):
        assert (service, operation) == ("ecr", "get_authorization_token")
        return {"authorizationData": self._data}


async def test_the_target_is_the_registry_of_the_account():
    url, credentials = await log_in_to_ecr(Answering())
    assert url == OURS
    assert credentials == Credentials("AWS", "secret-of-twelve-hours")
    assert "secret" not in repr(credentials)
    assert "secret" not in redact("GET / password secret-of-twelve-hours")


@pytest.mark.parametrize("named", ["http://[::1]:5001", "http://127.0.0.1:5001"])
async def test_an_emulator_names_its_own_registry(named):
    url, _ = await log_in_to_ecr(Answering(url=named, emulated=True))
    assert url == named


@pytest.mark.parametrize("url", ["http://registry.example:5000", OURS])
async def test_an_emulator_names_no_registry_elsewhere(url):
    """Not AWS's either: images for an emulator are not pushed to an account."""
    with pytest.raises(ConfigurationError, match="emulate --registry"):
        await log_in_to_ecr(Answering(url=url, emulated=True))


def test_no_log_has_the_token():
    shown = redact('{"authorizationToken": "QVdTOnNlY3JldA==", "expiresAt": 1}')
    assert "QVdT" not in shown
    assert "QVdT" not in redact("Authorization: Basic QVdTOnNlY3JldA==")


async def test_no_log_has_the_login_of_a_response(caplog):
    caplog.set_level(logging.DEBUG)
    secret = token("AWS:a/password~of?twelve>hours")
    entry = {"authorizationToken": secret, "proxyEndpoint": "http://127.0.0.1:5000"}
    escaped = json.dumps({"authorizationData": [entry]}).replace("/", r"\/").encode()
    async with answering({"get_authorization_token": Answer(escaped)}) as answers:
        await log_in_to_ecr(answers.aws)
    assert "authorizationToken" in caplog.text
    for part in (secret[4:14], secret[-12:-2], "password"):
        assert part not in caplog.text
