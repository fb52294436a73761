"""Wire formats of AWS's protocols: JSON 1.1 and the two query protocols."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aiohttp import web

from cloudburst.emulator.errors import ApiError

# XML namespaces of responses by service, from botocore's service descriptions.
NAMESPACES = {
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "ec2": "http://ec2.amazonaws.com/doc/2016-11-15/",
}
XML = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """Call of an AWS API, parsed from a request in any of AWS's protocols."""

    service: str
    operation: str
    parameters: Mapping[str, Any] = field(repr=False)
    key: str
    """Id of the access key with which the call was signed."""

    @property
    def is_query(self) -> bool:
        """True if the service uses a query protocol, whose responses are XML."""
        return self.service in NAMESPACES


def parse_call(request: web.Request, body: bytes, *, key: str, service: str) -> ApiCall:
    """Return the API call that an HTTP request contains."""
    operation, parameters = operation_of(request), dict[str, Any]()
    try:
        if operation:
            parameters = json.loads(body or b"{}")
        elif request.content_type == "application/x-www-form-urlencoded":
            parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
            operation = parameters.get("Action", "")
        else:
            operation = f"{request.method} {request.path}"
    except ValueError:
        raise ApiError("SerializationException", "The body cannot be parsed.") from None
    return ApiCall(service=service, operation=operation, parameters=parameters, key=key)


def operation_of(request: web.Request) -> str:
    """Return the operation that the headers of a request name; empty for a query."""
    return request.headers.get("X-Amz-Target", "").rpartition(".")[2]


def success_response(call: ApiCall, content: Mapping[str, Any]) -> web.Response:
    """Return the HTTP response of a successful call, in the format of its service."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if not call.is_query:
        return web.Response(
            body=json.dumps(content).encode(),
            content_type="application/x-amz-json-1.1",
            headers=headers,
        )
    name, space = call.operation, NAMESPACES[call.service]
    if call.service == "ec2":
        inner = _xml("requestId", request_id, "item") + _members(content, "item")
    else:
        meta = _xml("ResponseMetadata", {"RequestId": request_id}, "member")
        inner = _xml(f"{name}Result", content, "member") + meta
    text = f'{XML}<{name}Response xmlns="{space}">{inner}</{name}Response>'
    return web.Response(text=text, content_type="text/xml", headers=headers)


def error_response(call: ApiCall, error: ApiError) -> web.Response:
    """Return the HTTP response of a failed call, in the format of its service."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if call.service == "s3":
        inner = _xml("Error", {"Code": error.code, "Message": error.message}, "item")
        return web.Response(
            text=XML + inner, content_type="application/xml", status=error.status, headers=headers
        )
    if not call.is_query:
        return web.Response(
            body=json.dumps(
                {"__type": error.code, "message": error.message, **error.more}
            ).encode(),
            content_type="application/x-amz-json-1.1",
            status=error.status,
            headers=headers | {"x-amzn-ErrorType": error.code},
        )
    fault = {"Code": error.code, "Message": error.message}
    if call.service == "ec2":
        inner = _xml("Errors", {"Error": fault}, "item") + _xml("RequestID", request_id, "item")
        text = f"<Response>{inner}</Response>"
    else:
        inner = _xml("Error", {"Type": "Sender", **fault}, "member")
        text = f"<ErrorResponse>{inner}{_xml('RequestId', request_id, 'member')}</ErrorResponse>"
    return web.Response(text=text, content_type="text/xml", status=error.status, headers=headers)


def numbered_values(query: Mapping[str, str], name: str) -> list[str]:
    """Return the values of a list parameter in a query: ``name.1``, ``name.2`` and so on."""
    found = list[str]()
    while (value := query.get(f"{name}.{len(found) + 1}")) is not None:
        found.append(value)
    return found


def _xml(name: str, value: Any, item: str) -> str:
    if isinstance(value, Mapping):
        inner = _members(value, item)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        inner = "".join(_xml(item, one, item) for one in value)  # pyright: ignore[reportUnknownVariableType]
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"


def _members(content: Mapping[str, Any], item: str) -> str:
    return "".join(_xml(name, value, item) for name, value in content.items())
