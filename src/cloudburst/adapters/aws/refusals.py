"""AWS's refusals as errors of ours, as the table of failures has them."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from cloudburst.errors import AWSError, CloudburstError, LaunchError, NoAnswerError, Remedy
from cloudburst.models import failures
from cloudburst.models.failures import Failure

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
    except (BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError) as exc:
        failure = failures.of_exception(exc, on="aws")
        if failure is None or failure.error is AWSError:
            raise _other(operation, type(exc).__name__, f"{operation}: {exc}") from exc
        what = f"no answer: {type(exc).__name__}: {exc}"
        said = what if failure.error is NoAnswerError else str(exc)
        raise error_of(failure, f"{operation}: {said}") from exc


def code_of(error: BaseException) -> str:
    """AWS's code for the refusal behind an error of ours; empty where there is none."""
    cause = error.__cause__
    return _codes(cause)[0] if isinstance(cause, ClientError) else ""


def error_of(failure: Failure, said: str, *, code: str = "") -> CloudburstError:
    """What a row of the table becomes; where nobody but the reader can help, it says how."""
    tells = failure.do and failure.remedy in {Remedy.WHOLE_RUN, Remedy.FEWER}
    msg = f"{said} ({failure.told})" if tells else said
    error = AWSError(msg, code=code) if failure.error is AWSError else failure.error(msg)
    error.remedy = failure.remedy
    return error


def _codes(error: ClientError) -> tuple[str, str]:
    """The code, and the one that decides: an inner one where there is one."""
    told = error.response.get("Error", {})
    code = told.get("Code", "")
    inner = _INNER.search(told.get("Message", ""))
    return code, inner.group(1) if inner else code


def _refusal(operation: str, error: ClientError) -> CloudburstError:
    code, decisive = _codes(error)
    said = error.response.get("Error", {}).get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    failure = failures.of_code(decisive, said, status, operation=operation)
    return error_of(failure, f"{operation}: {code}: {said}", code=code)


def _other(operation: str, code: str, message: str) -> CloudburstError:
    return LaunchError(message) if operation == "run_task" else AWSError(message, code=code)
