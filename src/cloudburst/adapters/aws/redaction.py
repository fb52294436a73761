"""Keeps secrets out of logs.

At DEBUG, boto logs whole requests and answers: keys of workers and of ours, tokens, signatures. A
filter of a handler would depend on the handlers that somebody installs, and a filter of a parent
logger does not see what its children log; so every logger that may say such a thing gets one.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

LIBRARIES = (
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
HIDDEN = "***"
SHORTEST = 4
"""Characters of a value that is looked for: shorter ones are in any text."""
MOST = 4096
"""Values of workers that are remembered: the keys of workers of long ago open nothing."""

_QUOTE = r"\\*[\"']"
_BEFORE = rf"{_QUOTE}\s*:\s*b?{_QUOTE}"
_VALUE = r"[^\"'\\]+"
_NAME = rf"{_QUOTE}\s*,\s*{_QUOTE}name{_BEFORE}"
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        (r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END)", rf"\1{HIDDEN}\2"),
        # Variables of a container, in either order of name and value.
        (rf"(AUTHENTICATION_KEY{_QUOTE}\s*,\s*{_QUOTE}value{_BEFORE}){_VALUE}", rf"\1{HIDDEN}"),
        (rf"({_QUOTE}value{_BEFORE}){_VALUE}(?={_NAME}AUTHENTICATION_KEY)", rf"\1{HIDDEN}"),
        # Credentials, in XML and in JSON or Python's way to show a mapping.
        (r"(<(?:SecretAccessKey|SessionToken)>)[^<]+", rf"\1{HIDDEN}"),
        (rf"((?:SecretAccessKey|SessionToken){_BEFORE}){_VALUE}", rf"\1{HIDDEN}"),
        (rf"((?:accessToken|refreshToken|clientSecret){_BEFORE}){_VALUE}", rf"\1{HIDDEN}"),
        # Headers and presigned addresses.
        (rf"((?:X-Amz-Security-Token|X-Authentication-Key){_BEFORE}){_VALUE}", rf"\1{HIDDEN}"),
        (r"((?:x-amz-security-token|x-authentication-key):\s*)\S+", rf"\1{HIDDEN}"),
        (r"([?&](?:X-Amz-)?(?:Security-Token|Signature)=)[^&\s\"'\\]+", rf"\1{HIDDEN}"),
        (r"(AWS4-HMAC-SHA256 Credential=[^,\s]+,).*?(?=[\"'\n]|$)", rf"\1 {HIDDEN}"),
        (r"(Signature:\s+)[0-9a-f]{64}", rf"\1{HIDDEN}"),
        (r"(Bearer )[\w.~+/=-]+", rf"\1{HIDDEN}"),
    )
)


_always: dict[str, None] = {}
_latest: dict[str, None] = {}
"""Values in the order of their coming. Whoever reads them, in whatever thread, takes a copy."""


def hide(*values: str, always: bool = False) -> None:
    """Let no log show these values from now on.

    Args:
        values: Keys, tokens, PEM texts; empty ones are none.
        always: Not only until many others have come.
    """
    kept = _always if always else _latest
    for form in (form for value in values for form in _forms(value)):
        kept.pop(form, None)  # one that is named again is among the latest again
        kept[form] = None
    while len(_latest) > MOST:
        del _latest[next(iter(_latest))]
    cover()


def cover() -> None:
    """Watch every logger of the libraries that there is by now."""
    for name, logger in tuple(logging.Logger.manager.loggerDict.items()):
        if (
            isinstance(logger, logging.Logger)
            and name.partition(".")[0] in LIBRARIES
            and _filter not in logger.filters
        ):
            logger.addFilter(_filter)


def clean(text: str) -> str:
    """The text without secrets."""
    for value in (*_always, *_latest):
        if value in text:
            text = text.replace(value, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _forms(value: str) -> Iterator[str]:
    """How a value may be written in a log: as it is, in JSON, in an address; PEM line by line."""
    if "-----BEGIN" in value:
        yield from (line for line in value.splitlines() if line and not line.startswith("-----"))
    elif len(value) >= SHORTEST:
        in_json = json.dumps(value)[1:-1]
        shown = in_json.replace("\\", r"\\")  # JSON as bytes, the way Python shows them
        yield from (value, in_json, shown, json.dumps(in_json)[1:-1], quote(value, safe=""))


def _clean_record(record: logging.LogRecord) -> bool:
    text = _attempt(record.getMessage)
    if text is not None and (cleaned := clean(text)) != text:
        record.msg, record.args = cleaned, None
    if record.exc_info and record.exc_info[0] and not record.exc_text:
        text = logging.Formatter().formatException(record.exc_info)
        if (cleaned := clean(text)) != text:
            record.exc_text = cleaned  # what formatters take before they make their own
    return True


def _attempt(call: Callable[[], str]) -> str | None:
    try:
        return call()
    except (TypeError, ValueError, KeyError, AttributeError):
        return None  # arguments that do not fit: logging reports it when it comes to that


_filter = _clean_record
