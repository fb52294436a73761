"""Whom a line trusts, and what goes over it in clear."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from functools import cache

from anyio import to_thread

from cloudburst.errors import ConfigurationError
from cloudburst.models.task import Secrets

logger = logging.getLogger(__name__)

_HERE = (".internal", ".local", ".localhost", ".lan", ".home.arpa")
"""Ends of names that no public DNS knows."""


async def trust(scheme: str, secrets: Secrets) -> ssl.SSLContext:
    """How the worker at an address of that scheme is recognized.

    With a certificate in the secrets it is that one and no other, whatever the address is called.
    Without, an ``https`` address is one that the authorities of this system know by its name.

    Raises:
        ConfigurationError: the certificate is none, or it is there and the address is not https.
    """
    if secrets.certificate:
        if scheme != "https":
            msg = "a worker with a certificate is reached over https only"
            raise ConfigurationError(msg)
        return _only(secrets.certificate)
    if scheme == "https":
        # To read the certificates of all authorities takes up to 0.2 s.
        return await to_thread.run_sync(_authorities)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: plain HTTP asks nobody


def _only(certificate: str) -> ssl.SSLContext:
    context = _context(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError) as exc:
        msg = "the worker's certificate is not PEM"
        raise ConfigurationError(msg) from exc
    return context


@cache
def _authorities() -> ssl.SSLContext:
    return _context(ssl.create_default_context())


def _context(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def warn_of_clear_text(scheme: str, host: str) -> None:
    """Say, once for each process, that a key crosses networks in which others may read it."""
    if scheme == "http" and not _is_near(host):
        _warn()


@cache
def _warn() -> None:
    logger.warning(
        "workers are reached over plain HTTP at public addresses: whoever sits between can read "
        "their keys, and the files; native workers with a certificate are reached over TLS"
    )


def _is_near(host: str) -> bool:
    """Whether an address is of this machine or of a private network."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:  # a name
        return "." not in host or host.lower().rstrip(".").endswith(_HERE)
