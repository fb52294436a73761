"""Access of callers: who they are, and what they may do, read and write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

from cloudburst.concurrency import call_sync_or_async
from cloudburst.errors import ConfigurationError
from cloudburst.models.locations import S3Object, S3Prefix, parse_s3_prefix
from cloudburst.text import short_repr


class Action(StrEnum):
    """Action that a request asks for."""

    SUBMIT = "submit"
    """Submit, plan, resume or name a job; add scenes to one that is open, and close it; draw a
    frame of a scene."""
    READ = "read"
    """List jobs; read the state, events, report and videos of one."""
    CANCEL = "cancel"
    """Cancel a job."""
    DELETE = "delete"
    """Delete a finished job with its videos."""
    UPLOAD = "upload"
    """Upload a file, or delete an upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Access of one caller, which the function ``authorize`` of `Jobs` returns."""

    owner: str
    """Name of the caller. Jobs and uploads of other owners do not exist for it."""
    sources: Sequence[str] | None = None
    """Folders in S3 from which this owner's scenes may use files; ``None``: those of `Jobs`."""
    destinations: Sequence[str] | None = None
    """Folders in S3 to which this owner's videos may be written; ``None``: those of `Jobs`."""
    operator: bool = False
    """True if the caller may see the checks of the server and of its AWS account."""

    def __post_init__(self) -> None:
        # Other types would not be refused later: None selects the jobs of all owners.
        if not isinstance(cast("object", self.owner), str) or not self.owner:
            msg = (
                f"Access: the owner is {short_repr(self.owner)}; expected a text that is not empty"
            )
            raise ConfigurationError(msg)


Authorize: TypeAlias = Callable[[Request, Action], Access | Awaitable[Access]]
"""Function that returns the access of a caller, or raises an exception that becomes the response,
such as ``HTTPException(401)``. Unless it is a coroutine function, it is called in a thread."""

EVERYBODY = Access(owner="everybody", operator=True)
"""Access of all callers without a function ``authorize``: they are one owner."""


async def find_access(authorize: Authorize | None, request: Request, action: Action) -> Access:
    """Return the access of the caller of a request. Passes on the exceptions of ``authorize``.

    Raises `ConfigurationError` if it returns anything else than an `Access`.
    """
    if authorize is None:
        return EVERYBODY
    access = await call_sync_or_async(authorize, request, action)
    if not isinstance(cast("object", access), Access):
        msg = f"authorize returned {short_repr(access)}; expected an Access, or an exception"
        raise ConfigurationError(msg)
    return access


def refuse_other_sites(request: Request, public_url: str) -> None:
    """Refuse what a page of another site can send with the browser of a user of this machine.

    It is for apps that do not ask who the caller is. Raises `HTTPException` with the status 403 for
    a change that such a page requests, and for a host name that is neither local nor that of
    ``public_url``: its owner may let it point to this machine, and then read responses.
    """
    host, own = request.headers.get("host", "").lower(), urlsplit(public_url)
    try:
        name = urlsplit(f"http://{host}").hostname or ""
        origin = urlsplit(request.headers.get("origin", f"http://{host}")).netloc.lower()
    except ValueError:
        raise HTTPException(400, "invalid Host or Origin") from None
    local = name == "localhost" or name.endswith(".localhost") or _is_address(name)
    if host and not local and name != own.hostname:
        msg = f"unknown host {short_repr(host)}: pass Jobs(public_url=…) or Jobs(authorize=…)"
        raise HTTPException(403, msg)
    changes = request.method not in {"GET", "HEAD"}
    cross_site = request.headers.get("sec-fetch-site") == "cross-site"
    if changes and (cross_site or origin not in {host, own.netloc.lower() or host}):
        raise HTTPException(403, "the request comes from a page of another site")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Folders:
    """Folders in S3 that may be used."""

    def __init__(self, folders: Iterable[str], what: str) -> None:
        try:
            self._prefixes = tuple(map(parse_s3_prefix, folders))
        except ValueError as exc:
            raise ConfigurationError(f"{what}: {exc}") from exc

    def contain(self, location: S3Object | S3Prefix) -> bool:
        """Return whether a file or folder is in one of the folders, or below it.

        No key has parts such as ``..``: the parsers of locations refuse them.
        """
        key = location.key if isinstance(location, S3Object) else location.prefix
        return any(
            location.bucket == prefix.bucket and key.startswith(prefix.prefix)
            for prefix in self._prefixes
        )
