"""The service starts without modules that it does not need."""

from __future__ import annotations

import subprocess
import sys

NEEDLESS = [
    *("PIL", "av", "boto3", "botocore", "certifi", "cryptography", "filelock", "httpcore", "httpx"),
    "numpy",
    *("pydantic_settings", "tinytag", "cloudburst.models.failures", "cloudburst.models.limits"),
    *("cloudburst.models.prices", "cloudburst.models.settings", "cloudburst.models.task"),
    "cloudburst.renderer.render",
]
"""Modules that together take longer to import than all others."""


def test_the_start_imports_nothing_needless():
    code = f"import sys, cloudburst.service.server; print(*set({NEEDLESS}) & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
