"""Responses of AWS: checks that they are complete and well-typed, and access to optional members.

A response with HTTP status 200 need not come from AWS. botocore returns an empty response for a
body that is not JSON, such as the login page of a proxy, and does not check the types of values.
Such a response raises `NoAnswerError`, because the call may or may not have been carried out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cloudburst.errors import AWSError, CloudburstError, NoAnswerError
from cloudburst.redaction import without_secrets
from cloudburst.registry.names import DIGEST
from cloudburst.text import short_repr

BODY_TOO_LARGE = "EntityTooLarge"
"""Error code of a response whose body is larger than the caller permits."""
MAX_DEFECT_CHARACTERS = 300
"""Maximum number of characters of a parser's error that an error message quotes."""
REQUIRED_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "assume_role": (
        "Credentials.AccessKeyId",
        "Credentials.SecretAccessKey",
        "Credentials.SessionToken",
        "Credentials.Expiration",
    ),
    "batch_delete_image": ("imageIds", "failures"),
    "batch_get_image": ("images", "images[].imageId.imageDigest", "images[].imageManifest"),
    "create_cluster": ("cluster.clusterArn",),
    "create_repository": ("repository.repositoryArn", "repository.repositoryName"),
    "create_role": ("Role.Arn",),
    "create_security_group": ("GroupId",),
    "delete_cluster": ("cluster.clusterArn",),
    "delete_repository": ("repository.repositoryArn", "repository.repositoryName"),
    "deregister_task_definition": ("taskDefinition.taskDefinitionArn",),
    "describe_clusters": ("clusters", "clusters[].status"),
    "describe_images": ("imageDetails", "imageDetails[].imageDigest"),
    "describe_log_streams": ("logStreams", "logStreams[].logStreamName"),
    "describe_network_interfaces": (
        "NetworkInterfaces",
        "NetworkInterfaces[].NetworkInterfaceId",
    ),
    "describe_repositories": (
        "repositories",
        "repositories[].repositoryArn",
        "repositories[].repositoryName",
    ),
    "describe_subnets": ("Subnets", "Subnets[].SubnetId", "Subnets[].VpcId"),
    "describe_task_definition": (
        "taskDefinition.taskDefinitionArn",
        "taskDefinition.containerDefinitions",
        "taskDefinition.containerDefinitions[].name",
    ),
    "describe_tasks": (
        "tasks",
        "tasks[].taskArn",
        "tasks[].lastStatus",
        "tasks[].taskDefinitionArn",
        "tasks[].tags[].key",
    ),
    "describe_vpcs": ("Vpcs", "Vpcs[].CidrBlock"),
    "get_authorization_token": (
        "authorizationData",
        "authorizationData[].authorizationToken",
        "authorizationData[].proxyEndpoint",
    ),
    "get_aws_default_service_quota": ("Quota.Value",),
    "get_caller_identity": ("Account", "Arn"),
    "get_download_url_for_layer": ("downloadUrl",),
    "get_lifecycle_policy": ("lifecyclePolicyText",),
    "get_log_events": (
        "events",
        "events[].timestamp",
        "events[].message",
        "nextForwardToken",
        "nextBackwardToken",
    ),
    "get_products": ("PriceList",),
    "get_role": ("Role.Arn",),
    "get_service_quota": ("Quota.Value",),
    "list_objects_v2": ("IsTruncated", "Contents[].Key"),
    "list_tags_for_resource": ("tags",),
    "list_tasks": ("taskArns",),
    "put_image_scanning_configuration": ("repositoryName",),
    "put_lifecycle_policy": ("repositoryName", "lifecyclePolicyText"),
    "head_object": ("ContentLength", "ETag"),
    "get_object": ("ContentLength", "ETag"),
    "put_object": ("ETag",),
    "create_multipart_upload": ("UploadId",),
    "complete_multipart_upload": ("ETag",),
    "register_task_definition": ("taskDefinition.taskDefinitionArn",),
    "run_task": ("tasks[].taskArn", "tasks[].lastStatus", "failures[].reason"),
    "stop_task": ("task.taskArn",),
}
"""Members that the response of each operation must have, according to the API reference of its
service. Members are given by their paths: ``list[].member`` stands for the member of every entry of
the list, if the response has that list."""

_OBJECT_OPERATIONS = frozenset({"get_object", "head_object"})
"""Operations whose response has the content type of an object, which may be a web page."""
DECODED_POLICY_SHAPE = "policyDocumentType"
"""Name of the type of IAM policies in botocore's service model. The model calls them strings, but
botocore returns their decoded JSON, so their type is not checked."""
_SCALAR_TYPES: Mapping[str, tuple[type, ...]] = {
    "blob": (bytes, bytearray),
    "boolean": (bool,),
    "double": (int, float),
    "float": (int, float),
    "integer": (int,),
    "long": (int,),
    "string": (str,),
    "timestamp": (datetime,),
}
"""Python types in which botocore returns each scalar type of its service models."""
_CONTAINER_TYPES: Mapping[str, type] = {"list": list, "map": dict, "structure": dict}
"""Python types in which botocore returns each container type of its service models."""


def get_structure(response: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a member of a response that is a structure; an empty mapping if it is missing."""
    found: Mapping[str, Any] | None = response.get(name)
    return found or {}


def get_list(response: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a member of a response that is a list of structures; empty if it is missing."""
    found: list[Mapping[str, Any]] | None = response.get(name)
    return found or []


def parse_ip_address(text: object) -> str | None:
    """Return a value as the text of an IP address; ``None`` if it is not an IP address.

    The result becomes the host of a URL, so host names and other texts must be rejected.
    """
    try:
        return str(ipaddress.ip_address(str(text)))
    except ValueError:
        return None


async def read_body(operation: str, response: dict[str, Any], max_bytes: int) -> None:
    """Replace the streamed member ``Body`` of a response, if it has one, by its bytes.

    Raises:
        AWSError: The body is larger than ``max_bytes``.
        NoAnswerError: The body is incomplete.
    """
    body: Any = response.get("Body")
    if not hasattr(body, "iter_chunks"):
        return
    data = bytearray()
    try:
        async for chunk in body.iter_chunks():
            data += chunk
            if len(data) > max_bytes:
                msg = f"{operation}: the body has more than {max_bytes} bytes"
                raise AWSError(msg, code=BODY_TOO_LARGE)
    finally:
        body.close()  # a body that was not read completely must not keep its connection
    if len(data) != response.get("ContentLength", len(data)):
        raise NoAnswerError(f"{operation}: the body is incomplete")
    response["Body"] = bytes(data)


@contextmanager
def translate_parse_errors(operation: str) -> Generator[None]:
    """Raise `NoAnswerError` in place of the errors of botocore's parsers for a bad response."""
    try:
        yield
    except (BotoCoreError, ClientError, CloudburstError, OSError):
        raise
    except (
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as exc:
        reason = f"{type(exc).__name__}: {exc}"[:MAX_DEFECT_CHARACTERS]
        msg = f"{operation}: the response cannot be read: {reason}"
        raise NoAnswerError(msg) from without_secrets(exc)


def check_response(
    operation: str,
    parameters: Mapping[str, Any],
    response: Mapping[str, Any],
    *,
    shape: Any,
    required: Iterable[str] = (),
) -> None:
    """Raise `NoAnswerError` if a response cannot be AWS's answer to a call.

    Args:
        operation: Name of the method of the boto client.
        parameters: Parameters of the call.
        response: Response as botocore has parsed it.
        shape: Output shape of the operation in botocore's model; ``None`` if it has none.
        required: Members that the response must have in addition to `REQUIRED_MEMBERS`.
    """
    if defect := _find_defect(operation, parameters, response, shape, required):
        raise not_from_aws(operation, defect)


def not_from_aws(operation: str, defect: str) -> NoAnswerError:
    """Return the error for a response that cannot be AWS's answer to a call."""
    return NoAnswerError(f"{operation}: the response is not from AWS: {defect}")


def _find_defect(
    operation: str,
    parameters: Mapping[str, Any],
    response: Mapping[str, Any],
    shape: Any,
    required: Iterable[str],
) -> str:
    """Return a description of the first defect of a response; empty if there is none."""
    headers: Mapping[str, str] = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    is_page = headers.get("content-type", "").lower().startswith("text/html")
    if is_page and operation not in _OBJECT_OPERATIONS:
        return "it is a web page, perhaps the login page of a proxy"
    if shape is not None and (path := _find_wrong_type(response, shape, "")):
        return f"{path} is of the wrong type"
    for path in (*REQUIRED_MEMBERS.get(operation, ()), *required):
        if not _has_member(response, path.split(".")):
            return f"{path} is missing"
    find_defect = {
        "batch_get_image": _batch_get_image_defect,
        "create_repository": _repository_defect,
        "delete_repository": _repository_defect,
        "describe_images": _describe_images_defect,
        "describe_tasks": _describe_tasks_defect,
        "list_tasks": _list_tasks_defect,
        "run_task": _run_task_defect,
        "stop_task": _stop_task_defect,
    }.get(operation)
    return "" if find_defect is None else find_defect(parameters, response)


def _batch_get_image_defect(parameters: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    requested = parameters["imageIds"]
    for image in response["images"]:
        digest, tag = image["imageId"]["imageDigest"], image["imageId"].get("imageTag")
        if not DIGEST.fullmatch(digest):
            return f"{short_repr(digest)} is not a digest"
        if {"imageDigest": digest} not in requested and {"imageTag": tag} not in requested:
            return f"it describes the image {digest}, which was not requested"
    return ""


def _describe_images_defect(_: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    digests: Iterator[str] = (image["imageDigest"] for image in response["imageDetails"])
    wrong = next((digest for digest in digests if not DIGEST.fullmatch(digest)), None)
    return "" if wrong is None else f"{short_repr(wrong)} is not a digest"


def _repository_defect(parameters: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    found: str = response["repository"]["repositoryName"]
    if found == parameters["repositoryName"]:
        return ""
    return f"it is about the repository {short_repr(found)}"


def _run_task_defect(parameters: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    if not response.get("tasks") and not response.get("failures"):
        return "it has neither tasks nor failures"
    started_by = parameters.get("startedBy")
    for task in response.get("tasks", ()):
        if task.get("startedBy") != started_by:
            return f"the task {task['taskArn']} was started by {task.get('startedBy')!r}"
    return ""


def _list_tasks_defect(_: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    wrong = [arn for arn in response["taskArns"] if not arn.startswith("arn:")]
    return f"{wrong[0]!r} is not the ARN of a task" if wrong else ""


def _stop_task_defect(parameters: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    requested, stopped = parameters["task"], response["task"]["taskArn"]
    return "" if _task_ids([stopped]) == _task_ids([requested]) else f"it is about task {stopped}"


def _describe_tasks_defect(parameters: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    if not response["tasks"] and not response.get("failures"):
        return "it describes no task and reports none as missing"
    described = _task_ids(task["taskArn"] for task in response["tasks"])
    foreign = described - _task_ids(parameters["tasks"])
    return f"it describes the task {min(foreign)}, which was not requested" if foreign else ""


def _task_ids(tasks: Iterable[str]) -> set[str]:
    """Return the ids of tasks that are given as ids or ARNs. An ARN may lack the cluster's name."""
    return {task.rpartition("/")[2] for task in tasks}


def _find_wrong_type(value: Any, shape: Any, path: str) -> str:
    """Return the path of the first value whose type contradicts botocore's model; else empty."""
    kind = shape.type_name
    if kind in _CONTAINER_TYPES:
        if not isinstance(value, _CONTAINER_TYPES[kind]):
            return path or "the response"
        return next(filter(None, _wrong_types_inside(kind, value, shape, path)), "")
    if shape.name == DECODED_POLICY_SHAPE:
        return ""
    matches = isinstance(value, _SCALAR_TYPES.get(kind, (object,)))
    unexpected_bool = isinstance(value, bool) and kind != "boolean"
    return "" if matches and not unexpected_bool else path


def _wrong_types_inside(kind: str, value: Any, shape: Any, path: str) -> Iterator[str]:
    """Yield the result of `_find_wrong_type` for each part of a structure, list or map."""
    if kind == "structure":
        members = shape.members
        for name, part in value.items():
            if name in members:
                yield _find_wrong_type(part, members[name], f"{path}.{name}" if path else name)
    else:
        inner = shape.member if kind == "list" else shape.value
        for part in value if kind == "list" else value.values():
            yield _find_wrong_type(part, inner, f"{path}[]")


def _has_member(value: Any, path: Sequence[str]) -> bool:
    """Return whether the member at a path exists, in every entry of each list on the path."""
    if not path:
        return value is not None
    name, *rest = path
    if name.endswith("[]"):
        return all(_has_member(entry, rest) for entry in value.get(name[:-2]) or ())
    return name in value and _has_member(value[name], rest)
