"""What AWS's refusals mean to us: by their codes, and never by their prose."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import aiohttp
import botocore.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CapacityError,
    CloudburstError,
    CredentialsError,
    LaunchError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)

THROTTLED = frozenset(
    {
        "EC2ThrottledException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
"""What credentials that were right before are refused with."""
WRONG = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "BlockedException",
        "NotAuthorized",
        "OptInRequired",
        "UnauthorizedOperation",
    }
)
MISSING = frozenset(
    {
        "ClusterNotFoundException",
        "NoSuchEntity",
        "NoSuchResourceException",
        "ResourceNotFoundException",
        "TargetNotFoundException",
    }
)
UNWELL = frozenset(
    {"InternalError", "InternalFailure", "ServerException", "ServiceUnavailable", "Unavailable"}
)
"""AWS's own fault; with these, and with every 5xx, it may have been done all the same."""

_KINDS: Sequence[tuple[frozenset[str], type[LaunchError]]] = (
    (THROTTLED, ThrottledError),
    (EXPIRED | WRONG, CredentialsError),
    (DENIED, AccessDeniedError),
    (MISSING, ResourceMissingError),
    (UNWELL, NoAnswerError),
)

NO_CREDENTIALS = (
    CredentialRetrievalError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
NO_ANSWER = (
    botocore.exceptions.ConnectionError,
    HTTPClientError,
    ResponseParserError,
    aiohttp.ClientError,
    OSError,
)

_INNER = re.compile(r"\(ErrorCode: ([\w.]+)\)")
"""ECS asks EC2 on the way, and passes its refusals on in an ``InvalidParameterException`` with
EC2's code in brackets: https://github.com/dagster-io/dagster/issues/33439 (2026-02) and
https://github.com/dask/dask-cloudprovider/issues/56."""


@contextmanager
def translated(operation: str) -> Generator[None]:
    """Let none of botocore's or aiohttp's errors out of a call.

    Args:
        operation: The method of the client: ``run_task``…
    """
    try:
        yield
    except ClientError as exc:
        raise _refusal(operation, exc) from exc
    except ParamValidationError:
        # Its text quotes parameters, among which there may be keys.
        msg = f"{operation}: parameters of the wrong kind"
        raise _other(operation, "ParamValidationError", msg) from None
    except NO_CREDENTIALS as exc:
        raise CredentialsError(f"{operation}: {exc}") from exc
    except NO_ANSWER as exc:
        raise NoAnswerError(f"{operation}: no answer: {type(exc).__name__}: {exc}") from exc
    except BotoCoreError as exc:
        raise _other(operation, type(exc).__name__, f"{operation}: {exc}") from exc


def code_of(error: BaseException) -> str:
    """AWS's code for the refusal behind an error of ours; empty where there is none."""
    cause = error.__cause__
    return _codes(cause)[0] if isinstance(cause, ClientError) else ""


def _codes(error: ClientError) -> tuple[str, str]:
    """The code, and the one that decides: an inner one where there is one."""
    told = error.response.get("Error", {})
    code = told.get("Code", "")
    inner = _INNER.search(told.get("Message", ""))
    return code, inner.group(1) if inner else code


def _refusal(operation: str, error: ClientError) -> CloudburstError:
    code, decisive = _codes(error)
    said = error.response.get("Error", {}).get("Message", "")
    msg = f"{operation}: {code}: {said}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if kind := next((kind for codes, kind in _KINDS if decisive in codes), None):
        return kind(msg)
    if decisive.endswith(".NotFound"):  # EC2 has one for each kind of thing
        return ResourceMissingError(msg)
    if status >= 500:
        return NoAnswerError(msg)
    if operation == "describe_task_definition" and code == "ClientException":
        return ResourceMissingError(msg)  # the only thing that can be wrong with this call
    if operation == "run_task" and code == "LimitExceededException":
        return CapacityError(msg)
    return _other(operation, code, msg)


def _other(operation: str, code: str, message: str) -> CloudburstError:
    return LaunchError(message) if operation == "run_task" else AWSError(message, code=code)
