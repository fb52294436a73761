"""Encryption of objects in S3: keys of KMS, and what requests for new objects ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cloudburst.text import short_repr

_KEY_ARN = re.compile(
    r"arn:aws[a-z-]{0,20}:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/[A-Za-z0-9-]{1,64}", re.ASCII
)
_KEY_EXAMPLE = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
_HEADER = "x-amz-server-side-encryption"


@dataclass(frozen=True, slots=True)
class S3Encryption:
    """Encryption that requests for new objects ask for.

    The values are those of "PutObject", Amazon S3 API reference (2026-11).
    """

    algorithm: str = ""
    """``AES256``, ``aws:kms`` or ``aws:kms:dsse``; empty: the default of the bucket."""
    key: str = ""
    """ARN of a key of KMS; empty: ``aws/s3``, if the algorithm needs a key."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the request for boto."""
        found = {"ServerSideEncryption": self.algorithm, "SSEKMSKeyId": self.key}
        return {name: value for name, value in found.items() if value}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the request."""
        found = {_HEADER: self.algorithm, f"{_HEADER}-aws-kms-key-id": self.key}
        return {name: value for name, value in found.items() if value}


def parse_s3_encryption(text: str) -> S3Encryption:
    """Return the encryption that a text names: an algorithm, or the ARN of a key of KMS.

    Raises ``ValueError`` for any other text.
    """
    if text in _ALGORITHMS:
        return S3Encryption(text)
    if _KEY_ARN.fullmatch(text):
        return S3Encryption("aws:kms", text)
    msg = f"{short_repr(text)}; expected {', '.join(_ALGORITHMS)} or the ARN of a key of KMS"
    raise ValueError(msg)


def check_s3_encryption(text: str) -> str:
    """Return a text from which `parse_s3_encryption` makes an encryption."""
    parse_s3_encryption(text)
    return text


def check_key_arn(text: str) -> str:
    """Return the ARN of a key of KMS. Raises ``ValueError`` if a text is none."""
    if not _KEY_ARN.fullmatch(text):
        msg = f"not the ARN of a key of KMS: {short_repr(text)}; expected one like {_KEY_EXAMPLE}"
        raise ValueError(msg)
    return text
