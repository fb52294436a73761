"""The zstd module: of the standard library since Python 3.14, otherwise of ``backports.zstd``."""

from __future__ import annotations

import sys

from cloudburst.errors import ConfigurationError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    try:
        from backports import zstd
    except ImportError as exc:
        raise ConfigurationError(
            "images are built with the package backports.zstd: pip install 'cloudburst-sdk[image]'"
        ) from exc

__all__ = ["zstd"]
