"""Redaction of secrets in log records, in texts of workers and in errors of libraries.

At level DEBUG, boto logs whole requests and responses, with keys of workers and of AWS, tokens and
signatures. A filter on a handler would depend on the handlers that the application installs, and a
filter on a parent logger does not see the records of its children. So every logger that may log a
secret gets a filter.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote

_E = TypeVar("_E", bound=BaseException)

FILTERED_LOGGERS = (
    "aioboto3",
    "aiobotocore",
    "aiohttp",
    "asyncio",
    "boto3",
    "botocore",
    "cloudburst",
    "httpcore",
    "httpx",
    "s3transfer",
    "urllib3",
)
_LIBRARIES = ("aiobotocore", "aiohttp", "anyio", "asyncio", "botocore", "h11", "httpcore", "httpx")
"""Packages whose functions have signed requests in their local variables."""
HIDDEN = "***"
"""Text in place of a secret."""
MIN_SECRET_LENGTH, MIN_VALUE_LENGTH = 4, 8
"""Minimum length of a redacted value, in characters. Shorter values also occur in ordinary text.
So do values of a URL's query that are shorter than the second number, without their names."""


class SecretOwner(Enum):
    """Owner of a secret, which determines how long the secret is remembered."""

    SETTINGS = auto()
    ROLE = auto()
    WORKER = auto()
    INPUT = auto()
    """URL of an input file on a web server, whose query may give access to the file."""
    WEBHOOK = auto()
    """URL of a webhook, whose query may give access to its receiver."""


MAX_WRITTEN_FORMS = 4096
"""Maximum number of forms of secrets (plain or escaped) that are remembered for each kind of owner
but the settings. When there are more, the oldest are forgotten: those secrets are no longer valid.
The credentials of a role have about 4 forms and are valid for at most 12 hours; key and private key
of a worker have 4 forms, a presigned URL about 12. Each form adds 0.1 microseconds to each log
record."""

# A backslash before anything but a quote is part of a value: JSON may escape a slash.
_QUOTE = r"\\*[\"']"
_BEFORE = rf"{_QUOTE}\s*:\s*b?{_QUOTE}"
_VALUE = r"(?:[^\"'\\]|\\+(?![\"'\\]))+"
_NAME = rf"{_QUOTE}\s*,\s*{_QUOTE}name{_BEFORE}"
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        (r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END)", rf"\1{HIDDEN}\2"),
        # Environment variables of a container, with the name before the value or after it.
        (
            rf"(AUTHENTICATION_KEY{_QUOTE}\s*,\s*{_QUOTE}value{_BEFORE}){_VALUE}",
            rf"\1{HIDDEN}",
        ),
        (rf"({_QUOTE}value{_BEFORE}){_VALUE}(?={_NAME}AUTHENTICATION_KEY)", rf"\1{HIDDEN}"),
        # Credentials, in XML, in JSON and as the repr of a mapping.
        (r"(<(?:SecretAccessKey|SessionToken)>)[^<]+", rf"\1{HIDDEN}"),
        (rf"((?:SecretAccessKey|SessionToken){_BEFORE}){_VALUE}", rf"\1{HIDDEN}"),
        (
            rf"((?:accessToken|authorizationToken|clientSecret|refreshToken){_BEFORE}){_VALUE}",
            rf"\1{HIDDEN}",
        ),
        # Headers and presigned URLs.
        (rf"((?:X-Amz-Security-Token|X-Authentication-Key){_BEFORE}){_VALUE}", rf"\1{HIDDEN}"),
        (r"((?:x-amz-security-token|x-authentication-key):\s*)\S+", rf"\1{HIDDEN}"),
        (r"([?&](?:X-Amz-)?(?:Security-Token|Signature)=)[^&\s\"'\\]+", rf"\1{HIDDEN}"),
        (r"(AWS4-HMAC-SHA256 Credential=[^,\s]+,).*?(?=[\"'\n]|$)", rf"\1 {HIDDEN}"),
        (r"(Signature:\s+)[0-9a-f]{64}", rf"\1{HIDDEN}"),
        (r"(Bearer |\bBasic (?=\S{8}))[\w.~+/=-]+", rf"\1{HIDDEN}"),
    )
)


_written_forms: Mapping[SecretOwner, dict[str, None]] = {owner: {} for owner in SecretOwner}
"""Forms (plain or escaped) of the secrets of each kind of owner, in the order in which they were
added. Threads iterate over copies."""


def hide_secrets(*values: str, owner: SecretOwner = SecretOwner.WORKER) -> None:
    """Replace secret values with `HIDDEN` in all log records from now on.

    Args:
        values: Keys, tokens and PEM texts. Values shorter than `MIN_SECRET_LENGTH` are ignored.
        owner: Owner of the values. Of each kind of owner but the settings, only the latest
            `MAX_WRITTEN_FORMS` forms are remembered.
    """
    forms = _written_forms[owner]
    for form in (form for value in values for form in _forms_of(value)):
        forms.pop(form, None)  # moves a value that is added again to the end
        forms[form] = None
    while owner is not SecretOwner.SETTINGS and len(forms) > MAX_WRITTEN_FORMS:
        del forms[next(iter(forms))]
    install_filters()


def install_filters() -> None:
    """Install the redacting filter on every existing logger at or below `FILTERED_LOGGERS`."""
    for name, logger in tuple(logging.Logger.manager.loggerDict.items()):
        if (
            isinstance(logger, logging.Logger)
            and name.partition(".")[0] in FILTERED_LOGGERS
            and _redact_record not in logger.filters
        ):
            logger.addFilter(_redact_record)


def redact(text: str) -> str:
    """Return the text with `HIDDEN` in place of each secret."""
    for forms in _written_forms.values():
        for form in tuple(forms):
            if form in text:
                text = text.replace(form, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def without_secrets(error: _E, *, in_messages: bool = False) -> _E:
    """Return an error of a library after its requests and tracebacks were removed.

    The local variables in a traceback are URLs, headers and tokens of signed requests, and tools
    that report errors show them. The same applies to errors of libraries that led to this one.

    Args:
        error: The error, which is changed.
        in_messages: True to remove messages as well, because they have secrets in them.
    """
    pending: list[BaseException | None] = [error]
    for one in pending:
        if one is None or (one is not error and not _begins_in_library(one)):
            continue
        one.__traceback__ = None
        _remove_request(one)
        if in_messages:
            one.args = ()
        pending += [one.__cause__, one.__context__]
    return error


def _remove_request(error: Any) -> None:
    attributes = cast("dict[str, Any]", vars(error))
    attributes.pop("request", None)
    attributes.pop("_request", None)  # of httpx
    arguments: Any = attributes.get("kwargs")
    if isinstance(arguments, dict):  # of botocore
        cast("dict[str, Any]", arguments).pop("request", None)
    if hasattr(error, "request_info"):  # of aiohttp
        info: Any = error.request_info
        error.request_info = info.__class__(info.url, info.method, {}, info.real_url)
        error.args = (error.request_info, *error.args[1:])


def _begins_in_library(error: BaseException) -> bool:
    if error.__traceback__ is None:
        return False
    name = str(error.__traceback__.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] in _LIBRARIES


def repeats_secret(text: str, query: str) -> bool:
    """Return whether a text of a server has a part of a URL's query in it that may be a secret."""
    return any(secret in text for secret in query_secrets(query))


def query_secrets(query: str) -> Iterator[str]:
    """Yield the parts of a URL's query that may be secrets, as they are and decoded.

    They are its values, but with its name if a value is so short that it may be an ordinary word.
    """
    for part in query.split("&"):
        value = part.partition("=")[2] or part
        secret = value if len(value) >= MIN_VALUE_LENGTH else part
        if len(secret) >= MIN_SECRET_LENGTH:
            yield from dict.fromkeys((secret, unquote(secret)))


def _forms_of(value: str) -> Iterator[str]:
    """Yield the forms in which logs may show a secret: plain, or escaped for JSON or a URL.

    Of a PEM text, each line is a form of its own.
    """
    if "-----BEGIN" in value:
        yield from (line for line in value.splitlines() if line and not line.startswith("-----"))
    elif len(value) >= MIN_SECRET_LENGTH:
        in_json = json.dumps(value)[1:-1]
        in_repr = in_json.replace("\\", r"\\")  # the repr of JSON as bytes
        yield from (value, in_json, in_repr, json.dumps(in_json)[1:-1], quote(value, safe=""))


def _redact_record(record: logging.LogRecord) -> bool:
    text = _message_of(record)
    if text is not None and (redacted := redact(text)) != text:
        record.msg, record.args = redacted, None
    if record.exc_info and record.exc_info[0] and not record.exc_text:
        text = logging.Formatter().formatException(record.exc_info)
        if (redacted := redact(text)) != text:
            record.exc_text = redacted  # formatters use this instead of formatting the exception
    return True


def _message_of(record: logging.LogRecord) -> str | None:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError, AttributeError):
        return None  # the arguments do not fit the message: logging itself reports that
