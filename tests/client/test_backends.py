"""Which backend is chosen, and what is refused before anything is opened."""

from __future__ import annotations

import logging

import pytest

from cloudburst import Settings, endpoints, fargate
from cloudburst.client.backends import default_backend
from cloudburst.errors import ConfigurationError
from cloudburst.models.tier import Tier


def test_a_subnet_makes_it_fargate(monkeypatch, caplog):
    monkeypatch.setenv("AWS_SUBNET_ID", "subnet-1, subnet-2")
    with caplog.at_level(logging.INFO, "cloudburst"):
        default_backend()
    assert "subnet-1, subnet-2 is configured: rendering on Fargate" in caplog.text


def test_credentials_alone_do_not(monkeypatch, caplog):
    monkeypatch.delenv("AWS_SUBNET_ID", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with caplog.at_level(logging.INFO, "cloudburst"):
        default_backend()
    assert "rendering on this machine" in caplog.text


def test_fargate_wants_a_subnet(monkeypatch):
    monkeypatch.delenv("AWS_SUBNET_ID", raising=False)
    with pytest.raises(ConfigurationError, match=r"AWS_SUBNET_ID is not set.*cloudburst init"):
        fargate()


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "expected at least 1 of each"),
        ({"addresses": ["http://a:5000"], "encoders": 0}, "expected at least 1 of each"),
        ({"addresses": ["http://a:5000"], "protocol": "ftp"}, "native or onestep"),
    ],
)
def test_endpoints_that_make_no_sense(facts, message):
    with pytest.raises(ConfigurationError, match=message):
        endpoints(*facts.pop("addresses", ()), **facts)


@pytest.mark.anyio
async def test_an_address_that_is_none():
    with pytest.raises(ConfigurationError, match="not the base URL"):
        async with endpoints("a:5000")(Settings(), Tier.STANDARD):
            pass
