"""How AWS's protocols look on the wire: JSON 1.1 and the two query protocols."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aiohttp import web

from cloudburst.testing.emulator.refusal import RefusedError

TARGETS = {
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "Logs_20140328": "logs",
    "ServiceQuotasV20190624": "servicequotas",
    "AWSPriceListService": "pricing",
    "AmazonSQS": "sqs",
}
VERSIONS = {"2016-11-15": "ec2", "2011-06-15": "sts", "2010-05-08": "iam"}
NAMESPACES = {
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "ec2": "http://ec2.amazonaws.com/doc/2016-11-15/",
}
"""All of them are in each service's description in botocore."""
XML = '<?xml version="1.0" encoding="UTF-8"?>'
SCOPE = re.compile(r"Credential=([^/,]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")
"""Signature Version 4: key, day, region, service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call, whatever protocol it came in."""

    service: str
    operation: str
    parameters: Mapping[str, Any] = field(repr=False)
    key: str
    """The access key that signed it; empty when nobody did."""

    @property
    def is_query(self) -> bool:
        """Whether it wants XML."""
        return self.service in NAMESPACES


def read(request: web.Request, body: bytes) -> Asked:
    """What a request asks for. Raises `RefusedError` for what cannot be parsed."""
    scope = SCOPE.search(request.headers.get("Authorization", ""))
    key, service = (scope[1], scope[4]) if scope else ("", "")
    target, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
    if target:
        try:
            parameters = json.loads(body or b"{}")
        except ValueError:
            raise RefusedError("SerializationException", "The body is no JSON.") from None
        named = TARGETS.get(target, service)
        return Asked(service=named, operation=operation, parameters=parameters, key=key)
    if request.content_type == "application/x-www-form-urlencoded":
        query = dict(parse_qsl(body.decode(), keep_blank_values=True))
        named = VERSIONS.get(query.get("Version", ""), service)
        return Asked(service=named, operation=query.get("Action", ""), parameters=query, key=key)
    path = f"{request.method} {request.path}"
    return Asked(service=service or "s3", operation=path, parameters={}, key=key)


def answer(asked: Asked, content: Mapping[str, Any]) -> web.Response:
    """A call that was done."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if not asked.is_query:
        return web.Response(
            body=json.dumps(content).encode(),
            content_type="application/x-amz-json-1.1",
            headers=headers,
        )
    name, space = asked.operation, NAMESPACES[asked.service]
    if asked.service == "ec2":
        inner = _xml("requestId", request_id, "item") + _members(content, "item")
    else:
        meta = _xml("ResponseMetadata", {"RequestId": request_id}, "member")
        inner = _xml(f"{name}Result", content, "member") + meta
    text = f'{XML}<{name}Response xmlns="{space}">{inner}</{name}Response>'
    return web.Response(text=text, content_type="text/xml", headers=headers)


def refusal(asked: Asked, error: RefusedError) -> web.Response:
    """A call that was refused, in the form that the service's clients parse."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if not asked.is_query:
        return web.Response(
            body=json.dumps(
                {"__type": error.code, "message": error.message, **error.more}
            ).encode(),
            content_type="application/x-amz-json-1.1",
            status=error.status,
            headers=headers | {"x-amzn-ErrorType": error.code},
        )
    fault = {"Code": error.code, "Message": error.message}
    if asked.service == "ec2":
        inner = _xml("Errors", {"Error": fault}, "item") + _xml("RequestID", request_id, "item")
        text = f"<Response>{inner}</Response>"
    else:
        inner = _xml("Error", {"Type": "Sender", **fault}, "member")
        text = f"<ErrorResponse>{inner}{_xml('RequestId', request_id, 'member')}</ErrorResponse>"
    return web.Response(text=text, content_type="text/xml", status=error.status, headers=headers)


def numbered(query: Mapping[str, str], name: str) -> list[str]:
    """A list parameter of a query protocol, which is ``name.1``, ``name.2`` and so on."""
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
