"""Version of this package, which is also the tag of its container image."""

from __future__ import annotations

from importlib.metadata import version

DISTRIBUTION = "cloudburst-sdk"
"""Name of this package's distribution."""
PACKAGE_VERSION = version(DISTRIBUTION)
"""Version of this package."""
