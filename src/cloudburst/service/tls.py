"""Creation of a TLS context without writing the certificate or its key to a disk."""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator
from contextlib import contextmanager

from cloudburst.errors import ConfigurationError


def server_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """Return the TLS context of a server; certificate and private key are PEM.

    Raises:
        ConfigurationError: one of the two is not valid PEM, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Python reads them from files only; a pipe is a file that no other process can open.
        with _piped(certificate) as shown, _piped(private_key) as kept:
            # With no password OpenSSL would ask on the terminal; an empty one prevents that.
            context.load_cert_chain(shown, kept, password="")
    except (OSError, ValueError):  # SSLError is an OSError
        msg = (
            "CLOUDBURST_CERTIFICATE and CLOUDBURST_PRIVATE_KEY: expected a certificate in PEM and "
            "the private key of that certificate"
        )
        raise ConfigurationError(msg) from None
    return context


@contextmanager
def _piped(text: str) -> Generator[str]:
    """Yield the path of a pipe that contains a text.

    Raises ``ValueError`` for a text that is not ASCII or has more than 16,000 bytes, which fit into
    a pipe on any system.
    """
    data = text.encode("ascii")  # other characters raise a ValueError
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
