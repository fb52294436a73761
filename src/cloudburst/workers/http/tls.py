"""TLS contexts for connections to workers, and a warning about keys sent in clear text."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from functools import cache

from anyio import to_thread

from cloudburst.errors import ConfigurationError
from cloudburst.models.task import Secrets

logger = logging.getLogger(__name__)

_PRIVATE_DOMAINS = (".internal", ".local", ".localhost", ".lan", ".home.arpa")
"""Endings of host names that no public DNS server resolves."""


async def create_ssl_context(scheme: str, secrets: Secrets) -> ssl.SSLContext:
    """Return the TLS context for connections to a worker whose address has this scheme.

    If the secrets contain a certificate, only that certificate is trusted, and the host name is not
    checked. Otherwise the certificate authorities of this system are trusted. Connections over
    ``http`` do not use the context.

    Raises:
        ConfigurationError: The certificate in the secrets is invalid, or the secrets contain a
            certificate although the scheme is not ``https``.
    """
    if secrets.certificate:
        if scheme != "https":
            msg = "a worker with a certificate can be reached over https only"
            raise ConfigurationError(msg)
        return _context_of_certificate(secrets.certificate)
    if scheme == "https":
        # Reading the certificates of all authorities takes up to 0.2 s.
        return await to_thread.run_sync(_system_context)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP: never used


def _context_of_certificate(certificate: str) -> ssl.SSLContext:
    context = _restrict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError) as exc:
        msg = "the worker's certificate is not PEM"
        raise ConfigurationError(msg) from exc
    return context


@cache
def _system_context() -> ssl.SSLContext:
    return _restrict(ssl.create_default_context())


def _restrict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def warn_about_plain_http(scheme: str, host: str) -> None:
    """Log a warning, once per process, if a key crosses public networks in clear text."""
    if scheme == "http" and not _is_private(host):
        _warn_once()


@cache
def _warn_once() -> None:
    logger.warning(
        "workers are reached over plain HTTP at public addresses: anyone on the network path can "
        "read their keys and the files; native workers with a certificate are reached over TLS"
    )


def _is_private(host: str) -> bool:
    """Return whether an address belongs to this machine or to a private network."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:  # a host name
        return "." not in host or host.lower().rstrip(".").endswith(_PRIVATE_DOMAINS)
