"""The certificate that the service shows, straight from the environment and never on a disk."""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator
from contextlib import contextmanager

from cloudburst.errors import ConfigurationError


def server_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """What a server needs that shows a certificate; both are PEM.

    Raises:
        ConfigurationError: they are not, or the key is that of another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Python takes them from files only: pipes are files that nobody else can open.
        with _piped(certificate) as shown, _piped(private_key) as kept:
            # An empty password, for without one OpenSSL would ask on the terminal.
            context.load_cert_chain(shown, kept, password="")
    except (OSError, ValueError):  # SSLError is one of the former
        msg = (
            "CLOUDBURST_CERTIFICATE and CLOUDBURST_PRIVATE_KEY: expected a certificate in PEM and "
            "the private key of that very certificate"
        )
        raise ConfigurationError(msg) from None
    return context


def client_context(certificate: str) -> ssl.SSLContext:
    """What a client needs that trusts this certificate and no other, whatever the host's name.

    Raises:
        ssl.SSLError: it is no certificate in PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    return context


@contextmanager
def _piped(text: str) -> Generator[str]:
    """The name of a pipe that holds a text, shorter than the 16 KB that fit on any system."""
    data = text.encode("ascii")  # anything else raises a ValueError
    if len(data) > 16_000:
        msg = "too long"
        raise ValueError(msg)
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
