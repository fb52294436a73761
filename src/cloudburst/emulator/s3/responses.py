"""Responses of S3: headers and XML documents."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any, BinaryIO
from urllib.parse import quote
from xml.sax.saxutils import escape

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.protocols import XML
from cloudburst.emulator.s3.checksums import HEADER
from cloudburst.emulator.s3.objects import StoredObject

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(slots=True, kw_only=True)
class S3Response:
    """Response of S3 before it is sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    file: BinaryIO | None = None
    """Open file at the position of the first byte to send; ``None`` if `body` is sent."""
    size: int | None = None
    """Value of ``Content-Length``; ``None``: the size of `body`."""

    @property
    def length(self) -> int:
        """Number of bytes of the content, which a response to HEAD does not contain."""
        return len(self.body) if self.size is None else self.size

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()


def xml_response(name: str, content: Mapping[str, Any], *, status: int = 200) -> S3Response:
    """Return a response with an XML document. Lists become repeated elements."""
    text = f'{XML}<{name} xmlns="{NAMESPACE}">{_members(content)}</{name}>'
    headers = {"Content-Type": "application/xml"}
    return S3Response(status=status, headers=headers, body=text.encode())


def error_response(error: ApiError, *, head: bool) -> S3Response:
    """Return the response for an error; the response to a HEAD request has no document."""
    more = dict(error.more)
    headers = dict[str, str](more.pop("headers", {}))
    content = {"Code": error.code, "Message": error.message, **more}
    content["RequestId"] = secrets.token_hex(8).upper()
    text = f"{XML}<Error>{_members(content)}</Error>"
    return S3Response(
        status=error.status,
        headers={"Content-Type": "application/xml", **headers},
        body=b"" if head else text.encode(),
    )


def object_headers(stored: StoredObject, *, checksums: bool) -> dict[str, str]:
    """Return the headers that describe an object."""
    headers = {
        "ETag": stored.etag,
        "Last-Modified": format_datetime(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": stored.content_type,
        **stored.encryption.headers,
        **{f"x-amz-meta-{name}": value for name, value in stored.metadata.items()},
    }
    if stored.version_id:
        headers["x-amz-version-id"] = stored.version_id
    if stored.storage_class != "STANDARD":
        headers["x-amz-storage-class"] = stored.storage_class
    if checksums and stored.checksums:
        headers |= {f"{HEADER}{name}": value for name, value in stored.checksums.items()}
        headers[f"{HEADER}type"] = stored.checksum_type
    return headers


def encoded_key(key: str, query: Mapping[str, str]) -> str:
    """Return a key as a list contains it."""
    return quote(key, safe="/") if query.get("encoding-type") == "url" else key


def _members(content: Mapping[str, Any]) -> str:
    return "".join(_element(name, value) for name, value in content.items())


def _element(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"<{name}>{_members(value)}</{name}>"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(_element(name, one) for one in value)  # pyright: ignore[reportUnknownVariableType]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"
