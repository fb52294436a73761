"""Webhooks of an application and of single jobs: URL, secrets and types of events."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

import httpx

from cloudburst.concurrency import call_sync_or_async
from cloudburst.errors import ConfigurationError
from cloudburst.jobs.webhooks.outbox import Message
from cloudburst.jobs.webhooks.signature import decode_secrets
from cloudburst.net.network import is_permitted
from cloudburst.text import list_some, short_repr

JOB_FINISHED = "job.finished"
EVENT_TYPES = (
    "job.queued",
    "job.started",
    "job.closed",
    "job.resumed",
    "job.interrupted",
    JOB_FINISHED,
    "job.settled",
    "scene.queued",
    "scene.started",
    "scene.uploaded",
    "scene.encoding",
    "scene.copied",
    "scene.encoded",
    "scene.retried",
    "scene.completed",
    "scene.failed",
    "film.completed",
    "film.failed",
    "worker.launched",
    "worker.ready",
    "worker.stopped",
    "worker.failed",
)
"""Types of events that can be sent: all that have a number, so progress is not among them."""
NAME_OF_JOB_WEBHOOK = "job"
"""Name of the webhook that a job itself names. No webhook of the application has it."""
MAX_URL_CHARS = 2048
"""Maximum length of a URL, in characters."""

JobSecrets: TypeAlias = Callable[[str], Sequence[str] | Awaitable[Sequence[str]]]
"""Function that returns the secrets for the webhooks of an owner's jobs, the newest first. Unless
it is a coroutine function, it is called in a thread."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EXPECTED_URL = "expected https://HOST/PATH, without user name, password and fragment"
_PATTERNS = frozenset(("*", *EVENT_TYPES, *(f"{kind.partition('.')[0]}.*" for kind in EVENT_TYPES)))


class Target(NamedTuple):
    """Parts of a URL to which messages are sent."""

    origin: str
    """Scheme, host and port, which may be logged."""
    path: bytes
    """Path and query as the server receives them. They may be secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Web server to which events of jobs are sent as signed messages.

    Raises `ConfigurationError` if a value is not valid. Neither the URL nor a secret is shown.
    """

    url: str = field(repr=False)
    """URL with the scheme ``https``; with ``private``, ``http`` as well."""
    secrets: Sequence[str] = field(repr=False)
    """Secrets, written as ``whsec_…``. Messages are signed with each: while a receiver changes its
    secret, both are listed."""
    events: Sequence[str] = (JOB_FINISHED,)
    """Types of the events that are sent: names, ``job.*``, ``scene.*``, ``film.*``, ``worker.*`` or
    ``*``."""
    name: str = ""
    """Name of the webhook in the outbox, which must stay the same when the URL changes. By default,
    it is made of the host and a hash of the URL."""
    private: bool = False
    """True if the URL may lead to this machine or to a private network. Addresses of metadata
    services are never permitted."""
    target: Target = field(init=False, repr=False, compare=False)
    """Parts of the URL."""
    keys: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    """Keys in the secrets."""

    def __post_init__(self) -> None:
        target = parse_webhook_url(self.url, private=self.private)
        _check_events(self.events)
        name = self.name or _default_name(self.url)
        if not _NAME.fullmatch(name):
            msg = (
                f"the name of a webhook is {short_repr(name)}; expected 1 to 64 letters, digits, "
                "full stops, hyphens and underscores"
            )
            raise ConfigurationError(msg)
        for attribute, value in (
            ("target", target),
            ("keys", decode_secrets(self.secrets)),
            ("name", name),
        ):
            object.__setattr__(self, attribute, value)

    def receives(self, event_type: str) -> bool:
        """Return whether events of a type are sent to this webhook."""
        return not {"*", event_type, f"{event_type.partition('.')[0]}.*"}.isdisjoint(self.events)


class Webhooks:
    """Webhooks of an application, and access to those of single jobs.

    A job may name a URL of its own, to which ``job.finished`` is sent. It must lead to a public
    address, because the caller of the application chose it.

    Args:
        webhooks: Webhooks of the application, which receive events of all jobs.
        job_secrets: Function that returns the secrets for the webhooks of an owner's jobs;
            ``None`` if jobs may not name a URL. Each owner needs secrets of its own, because an
            owner could otherwise sign messages to the others.

    Raises:
        ConfigurationError: Two webhooks have the same name, or one has the name ``job``.
    """

    def __init__(
        self, webhooks: Iterable[Webhook] = (), *, job_secrets: JobSecrets | None = None
    ) -> None:
        self._webhooks = dict[str, Webhook]()
        self._job_secrets = job_secrets
        for webhook in webhooks:
            if webhook.name in self._webhooks or webhook.name == NAME_OF_JOB_WEBHOOK:
                why = "is taken" if webhook.name in self._webhooks else "means those of jobs"
                msg = f"webhook {webhook.name}: the name {why}; expected another name for each"
                raise ConfigurationError(msg)
            self._webhooks[webhook.name] = webhook

    def __bool__(self) -> bool:
        return bool(self._webhooks) or self._job_secrets is not None

    def check_job_url(self, url: str) -> None:
        """Raise `ConfigurationError` if a job may not name this URL."""
        if self._job_secrets is None:
            msg = "jobs cannot name a webhook here: the application has set no secrets for them"
            raise ConfigurationError(msg)
        parse_webhook_url(url, private=False)

    def receivers(self, event_type: str, *, job_url: str | None) -> list[tuple[str, str | None]]:
        """Return the name of each webhook for an event, and the URL if the job names it."""
        found = [(w.name, None) for w in self._webhooks.values() if w.receives(event_type)]
        if job_url is not None and event_type == JOB_FINISHED:
            return [*found, (NAME_OF_JOB_WEBHOOK, job_url)]
        return list[tuple[str, str | None]](found)

    async def find(self, message: Message) -> Webhook | None:
        """Return the webhook of a message, if it is among these.

        Raises `ConfigurationError` for invalid secrets, and the errors of ``job_secrets``.
        """
        if message.url is None:
            return self._webhooks.get(message.webhook)
        if self._job_secrets is None:
            return None
        secrets = await call_sync_or_async(self._job_secrets, message.owner)
        return Webhook(url=message.url, secrets=secrets, name=NAME_OF_JOB_WEBHOOK)


def parse_webhook_url(url: str, *, private: bool) -> Target:
    """Return the parts of a URL to which messages may be sent.

    Raises `ConfigurationError` for any other URL, without showing it.
    """
    if len(url) > MAX_URL_CHARS:
        raise _invalid_url(f"it has {len(url)} characters; expected at most {MAX_URL_CHARS}")
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        raise _invalid_url(_EXPECTED_URL) from None
    if parts.scheme == "http" and not private:
        raise _invalid_url("it has the scheme http; expected https, or private=True")
    host_is_valid = parts.raw_host and b"%" not in parts.raw_host
    port_is_valid = parts.port is None or 0 < parts.port < 65536
    scheme_is_valid = parts.scheme in {"http", "https"}
    valid = scheme_is_valid and host_is_valid and port_is_valid
    if not valid or parts.userinfo or parts.fragment:
        raise _invalid_url(_EXPECTED_URL)
    if _is_forbidden_address(parts.host, private=private):
        kind = "permitted" if private else "public"
        raise _invalid_url(f"it leads to {parts.host}, which is not a {kind} address")
    return Target(f"{parts.scheme}://{parts.netloc.decode('ascii')}", parts.raw_path)


def _is_forbidden_address(host: str, *, private: bool) -> bool:
    try:
        address = str(ip_address(host))
    except ValueError:
        return False  # a name, which is resolved when a message is sent
    return not is_permitted(address, private=private)


def _check_events(events: Sequence[str]) -> None:
    listed = [events] if isinstance(events, str) else list(events)
    unknown = [short_repr(kind) for kind in listed if kind not in _PATTERNS]
    if isinstance(events, str) or unknown or not listed:
        found = list_some(unknown) if unknown else short_repr(events)
        msg = (
            f"the events of a webhook are {found}; expected a list of {', '.join(EVENT_TYPES)}, "
            "or patterns such as scene.* and *"
        )
        raise ConfigurationError(msg)


def _default_name(url: str) -> str:
    host = re.sub(r"[^A-Za-z0-9.-]", "-", httpx.URL(url).host)
    return f"{host[:50]}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _invalid_url(reason: str) -> ConfigurationError:
    return ConfigurationError(f"the URL of a webhook is not valid: {reason}")
