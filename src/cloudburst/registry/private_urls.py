"""Requests whose URLs and headers are secrets: they are kept out of the logs of httpx and httpcore.

Presigned URLs, redirects to the storage of a registry and locations of uploads are as good as a
password. httpx logs every URL with its query at the level INFO, and httpcore logs the headers of
every response at DEBUG. Neither can be turned off for one client.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from cloudburst.registry.errors import printable

if TYPE_CHECKING:
    import httpx

LOGGERS = (
    "httpx",
    *("httpcore.connection", "httpcore.http11", "httpcore.http2"),
    *("httpcore.proxy", "httpcore.socks"),
)
"""Names of the loggers of httpx 0.28 and httpcore 1.0. The filter of a logger does not affect the
loggers below it."""

_private: ContextVar[bool] = ContextVar("cloudburst_private_request", default=False)


def _is_public(_: logging.LogRecord) -> bool:
    return not _private.get()


@contextmanager
def unlogged() -> Generator[None]:
    """Drop what httpx and httpcore log in this block, in the current task only.

    Requests of other tasks, and thus of other programs' clients, are logged as before. Do not yield
    from a generator in this block: the code that uses the generator would not be logged either.
    """
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_public)  # has no effect if it is there already
    token = _private.set(True)
    try:
        yield
    finally:
        _private.reset(token)


def without_secrets(url: httpx.URL) -> str:
    """Return the part of a URL that a message may contain: path and query may be secrets."""
    return printable(f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}", 100)
