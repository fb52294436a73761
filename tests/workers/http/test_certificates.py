"""The key and certificate with which a worker is started."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloudburst.service.connections import server_context
from cloudburst.workers.http.certificates import new_secrets

SECRETS = new_secrets()


def test_the_private_key_belongs_to_the_certificate():
    certificate = x509.load_pem_x509_certificate(SECRETS.certificate.encode())
    key = load_pem_private_key(SECRETS.private_key.encode(), password=None)
    assert key.public_key() == certificate.public_key()
    server_context(SECRETS.certificate, SECRETS.private_key)


def test_a_certificate_is_valid_from_an_hour_ago_for_two_days():
    certificate = x509.load_pem_x509_certificate(SECRETS.certificate.encode())
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc < now - timedelta(minutes=55)
    assert timedelta(hours=47) < certificate.not_valid_after_utc - now <= timedelta(hours=48)


def test_a_certificate_may_not_sign_others():
    certificate = x509.load_pem_x509_certificate(SECRETS.certificate.encode())
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_all_are_different():
    others = [new_secrets() for _ in range(20)]
    for part in ("key", "certificate", "private_key"):
        assert len({getattr(secrets, part) for secrets in others}) == 20


def test_its_repr_shows_no_secret():
    shown = repr(SECRETS) + str(SECRETS)
    assert SECRETS.key not in shown
    assert "BEGIN" not in shown


def test_a_certificate_leaves_room_in_the_overrides_of_a_task():
    assert len(SECRETS.key + SECRETS.certificate + SECRETS.private_key) < 1000


def test_a_certificate_is_made_beside_the_loop():
    spent = []
    for _ in range(50):
        began = time.perf_counter()
        new_secrets()
        spent.append(time.perf_counter() - began)
    assert sorted(spent)[25] < 0.002


def test_openssl_accepts_it_as_the_only_authority():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=SECRETS.certificate)
    assert context.cert_store_stats()["x509"] == 1
