"""Webhooks as an application writes them: what is accepted, and what is never shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import anyio
import pytest

from cloudburst.errors import ConfigurationError
from cloudburst.events import Event
from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.definitions import EVENT_TYPES, Webhook, Webhooks, parse_webhook_url
from support.outbox import Outbox

SECRET = "whsec_" + "c2VjcmV0" * 6
OTHER = "whsec_" + "b3RoZXIu" * 6
URL = "https://hooks.example:8443/in/path-token?key=query-token"


def webhook(url: str = URL, secrets: Sequence[str] = (SECRET,), **others: Any) -> Webhook:
    return Webhook(url=url, secrets=secrets, **others)


def test_all_events_with_a_number_can_be_sent() -> None:
    union, *_ = get_args(Event)
    types = {cls.model_fields["type"].default for cls in get_args(union)}
    progress = {kind for kind in types if kind.endswith(".progress")}
    assert {kind for kind in EVENT_TYPES if not kind.startswith("job.")} == types - progress
    assert len(progress) == 2


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        (URL, "https://hooks.example:8443", b"/in/path-token?key=query-token"),
        ("https://hooks.example", "https://hooks.example", b"/"),
        ("https://hooks.example?a=b", "https://hooks.example", b"/?a=b"),
        ("https://hooks.example/a b#", "https://hooks.example", b"/a%20b"),
        ("https://bücher.example/é", "https://xn--bcher-kva.example", b"/%C3%A9"),
        ("https://93.184.215.14/x", "https://93.184.215.14", b"/x"),
        ("https://[2606:2800:21f:cb07::1]/x", "https://[2606:2800:21f:cb07::1]", b"/x"),
    ],
)
def test_urls_that_are_accepted(url: str, origin: str, path: bytes) -> None:
    assert webhook(url).target == (origin, path)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example/", "scheme http"),
        ("ftp://hooks.example/", "expected https"),
        ("hooks.example/path", "expected https"),
        ("", "expected https"),
        ("https://", "expected https"),
        ("https:///path", "expected https"),
        ("https://user@hooks.example/", "without user name"),
        ("https://user:token@hooks.example/", "without user name"),
        ("https://hooks.example/#part", "fragment"),
        ("https://hooks.example:0/", "expected https"),
        ("https://hooks.example:99999/", "expected https"),
        ("https://hooks.example:x/", "expected https"),
        ("https://hooks.example/\r\nX-Evil: 1", "expected https"),
        ("https://hooks.example\r\n/x", "expected https"),
        ("https://[::1", "expected https"),
        ("https://exa mple/", "expected https"),
        ("https://127.0.0.1/", "not a public address"),
        ("https://10.1.2.3/", "not a public address"),
        ("https://[::1]/", "not a public address"),
        ("https://[::ffff:169.254.169.254]/", "not a public address"),
        ("https://169.254.169.254/latest/", "not a public address"),
        ("https://hooks.example/" + "x" * 2048, "2070 characters"),
    ],
)
def test_urls_that_are_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        webhook(url)
    assert "token" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        Webhooks(job_secrets=secrets_of).check_job_url(url)


def test_private_urls_must_be_permitted() -> None:
    assert webhook("http://127.0.0.1:8000/x", private=True).target.origin == "http://127.0.0.1:8000"
    for url in ("http://169.254.169.254/", "https://[fd00:ec2::254]/", "https://168.63.129.16/"):
        with pytest.raises(ConfigurationError, match="not a permitted address"):
            webhook(url, private=True)


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([], r"\[\]"),
        ("job.finished", "'job.finished'"),
        (["job.done"], "'job.done'"),
        (["scene.progress"], "'scene.progress'"),
        (["s*"], r"'s\*'"),
        (["job.finished", None], "None"),
    ],
)
def test_events_that_do_not_exist(events: Any, found: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"are {found}; expected a list of job.queued"):
        webhook(events=events)


@pytest.mark.parametrize(
    ("events", "received"),
    [
        (["job.finished"], {"job.finished"}),
        (["film.*"], {"film.completed", "film.failed"}),
        (["*"], set(EVENT_TYPES)),
        (["job.settled", "film.failed"], {"job.settled", "film.failed"}),
    ],
)
def test_which_events_a_webhook_receives(events: Any, received: set[str]) -> None:
    assert {kind for kind in EVENT_TYPES if webhook(events=events).receives(kind)} == received


def test_names() -> None:
    first, second = webhook(), webhook(URL + "2")
    assert first.name == webhook().name != second.name
    assert first.name.startswith("hooks.example-")
    assert webhook("https://[2606:2800:21f:cb07::1]/").name.startswith("2606-2800-21f-cb07--1-")
    assert webhook(name="billing").name == "billing"
    for name in ("a b", "a:b", "x" * 65, "é", "../x", "a\n"):
        with pytest.raises(ConfigurationError, match="the name of a webhook"):
            webhook(name=name)
    with pytest.raises(ConfigurationError, match="webhook billing: the name is taken"):
        Webhooks([webhook(name="billing"), webhook(name="billing")])
    with pytest.raises(ConfigurationError, match="webhook job: the name means those of jobs"):
        Webhooks([webhook(name="job")])


def test_no_secret_is_shown() -> None:
    shown = repr(webhook(name="billing")) + str([webhook()])
    for secret in ("token", "c2Vj", "secret", "/in/"):
        assert secret not in shown, shown
    assert replace(webhook(), secrets=[OTHER]).keys != webhook().keys


async def secrets_of(owner: str) -> list[str]:
    return {"ann": [SECRET]}[owner]


def test_webhooks_of_jobs() -> None:
    hooks = Webhooks([webhook(name="all", events=["*"])], job_secrets=secrets_of)
    hooks.check_job_url(URL)
    assert hooks.receivers("job.finished", job_url=URL) == [("all", None), ("job", URL)]
    assert hooks.receivers("scene.failed", job_url=URL) == [("all", None)]
    assert hooks
    assert Webhooks(job_secrets=secrets_of)
    assert not Webhooks()
    assert Webhooks().receivers("job.finished", job_url=None) == []
    with pytest.raises(ConfigurationError, match="cannot name a webhook here"):
        Webhooks().check_job_url(URL)


def test_a_message_finds_its_webhook() -> None:
    async def find(hooks: Webhooks, **fields: Any) -> Webhook | None:
        box = Outbox()
        box.add(**fields)
        (message,) = box(outbox.due, now=1.0, of_each_webhook=1)
        return await hooks.find(message)

    mine = webhook(name="main")
    hooks = Webhooks([mine], job_secrets=secrets_of)
    assert anyio.run(lambda: find(hooks)) is mine
    assert anyio.run(lambda: find(hooks, webhook="removed")) is None
    of_job = {"webhook": "job", "url": URL, "owner": "ann"}
    found = anyio.run(lambda: find(hooks, **of_job))
    assert found is not None
    assert (found.target, found.private) == (parse_webhook_url(URL, private=False), False)
    assert anyio.run(lambda: find(Webhooks([mine]), **of_job)) is None
    # A job cannot use the name of a webhook of the application to be signed with its secrets.
    stranger = of_job | {"webhook": "main", "owner": "bob"}
    with pytest.raises(KeyError):
        anyio.run(lambda: find(hooks, **stranger))
