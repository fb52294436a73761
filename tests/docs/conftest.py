"""Fixtures of the tests of documentation."""

from __future__ import annotations

import pytest


@pytest.fixture
def says(tmp_path):
    """Variables of a shell in which `cloudburst` prints its arguments and does nothing."""
    path = tmp_path / "says.sh"
    path.write_text('cloudburst() { echo "$@"; }\n')
    return {"BASH_ENV": str(path)}
