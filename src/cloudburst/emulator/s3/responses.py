"""Responses of S3: headers and XML documents."""

from __future__ import annotations

import io
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
    content: BinaryIO = field(default_factory=io.BytesIO)
    """Content, at the position of the first byte to send."""
    size: int = 0
    """Number of bytes to send. A response to HEAD only has it as its ``Content-Length``."""


def xml_response(name: str, content: Mapping[str, Any]) -> S3Response:
    """Return a response with an XML document. Lists become repeated elements."""
    return _document(f'<{name} xmlns="{NAMESPACE}">{_members(content)}</{name}>')


def error_response(error: ApiError) -> S3Response:
    """Return the response for an error."""
    more = dict(error.more)
    headers = dict[str, str](more.pop("headers", {}))
    content = {"Code": error.code, "Message": error.message, **more}
    content["RequestId"] = secrets.token_hex(8).upper()
    response = _document(f"<Error>{_members(content)}</Error>")
    response.status = error.status
    response.headers |= headers
    return response


def object_headers(stored: StoredObject, *, checksums: bool) -> dict[str, str]:
    """Return the headers that describe an object."""
    headers = {
        "ETag": stored.etag,
        "Last-Modified": format_datetime(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": stored.request.headers.get("content-type", "binary/octet-stream"),
        **stored.encryption.headers,
        **{n: value for n, value in stored.request.headers.items() if n.startswith("x-amz-meta-")},
    }
    if checksums and stored.checksums:
        headers |= {f"{HEADER}{name}": value for name, value in stored.checksums.items()}
        headers[f"{HEADER}type"] = "FULL_OBJECT"
    return headers


def encoded_key(key: str, query: Mapping[str, str]) -> str:
    """Return a key as a list contains it."""
    return quote(key, safe="/") if query.get("encoding-type") == "url" else key


def _document(text: str) -> S3Response:
    body = f"{XML}{text}".encode()
    headers = {"Content-Type": "application/xml"}
    return S3Response(headers=headers, content=io.BytesIO(body), size=len(body))


def _members(content: Mapping[str, Any]) -> str:
    return "".join(_element(name, value) for name, value in content.items())


def _element(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"<{name}>{_members(value)}</{name}>"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(_element(name, one) for one in value)  # pyright: ignore[reportUnknownVariableType]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"
