"""``python -m cloudburst.service.health``: exit 0 when the service here answers its health check.

For a container's own check, where there is no curl.
"""

from __future__ import annotations

import http.client
import os
import sys


def healthy(port: int, *, seconds: float = 3.0) -> bool:
    """Whether the service on this machine's port answers 200."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        line.request("GET", "/health")
        return line.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


if __name__ == "__main__":
    sys.exit(not healthy(int(os.environ.get("CLOUDBURST_PORT", "5000"))))
