"""Authentication keys and TLS certificates, created for each worker."""

from __future__ import annotations

import secrets as random_secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloudburst.models.task import Secrets

# Margin that is subtracted from the creation time of a certificate to get the start of its
# validity, because the clock of this machine may be set back afterwards.
CLOCK_SKEW = timedelta(hours=1)
# Time for which a certificate is valid after its creation, longer than any worker runs.
CERTIFICATE_VALIDITY = timedelta(hours=48)

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudburst")])


def new_secrets() -> Secrets:
    """Create the secrets of a worker: a key, and a self-signed certificate with its private key.

    The certificate (P-256, in PEM) names no host, because the address of a worker is not known
    before the worker runs. The client trusts only this certificate, whose private key no other
    worker has. The secrets have about 800 characters together, a tenth of the 8,192 that ECS
    accepts as overrides of a task.
    """
    private_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CERTIFICATE_VALIDITY)
        # It signs only itself: a certificate signed with its key is not trusted.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private_key, SHA256())
    )
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Secrets(
        key=random_secrets.token_urlsafe(32),
        certificate=certificate.public_bytes(Encoding.PEM).decode("ascii"),
        private_key=pem.decode("ascii"),
    )
