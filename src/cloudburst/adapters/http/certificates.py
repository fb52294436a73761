"""A key and a certificate that nobody else has, made in a millisecond for each worker."""

from __future__ import annotations

import secrets as random_secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloudburst.models.task import Secrets

BEFORE = timedelta(hours=1)
"""A clock that was set back meanwhile does not yet make the certificate a future one."""
AFTER = timedelta(hours=48)
"""Longer than a worker lives."""

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudburst")])


def new_secrets() -> Secrets:
    """A random key, and a self-signed P-256 certificate with its private key, both in PEM.

    The certificate names no host, for a worker's address is not known before it runs: whoever
    trusts it trusts it alone, and knows the worker by the key that only this worker has. About
    800 characters in all, a tenth of what ECS takes as overrides of a task (8,192).
    """
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + AFTER)
        # It signs nothing but itself: a certificate made with its key is not to be trusted.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, SHA256())
    )
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Secrets(
        key=random_secrets.token_urlsafe(32),
        certificate=certificate.public_bytes(Encoding.PEM).decode("ascii"),
        private_key=key.decode("ascii"),
    )
