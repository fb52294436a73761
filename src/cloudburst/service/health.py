"""``python -m cloudburst.service.health``: exit 0 when the service here answers its health check.

For a container's own check, where there is no curl.
"""

from __future__ import annotations

import http.client
import os
import sys

from cloudburst.service.tls import client_context


def healthy(port: int, *, certificate: str = "", seconds: float = 3.0) -> bool:
    """Whether the service on this machine's port answers 200, over TLS with its own certificate.

    Raises:
        ssl.SSLError: that is no certificate in PEM.
    """
    host = "127.0.0.1"
    line = (
        http.client.HTTPSConnection(
            host, port, timeout=seconds, context=client_context(certificate)
        )
        if certificate
        else http.client.HTTPConnection(host, port, timeout=seconds)
    )
    try:
        line.request("GET", "/health")
        return line.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


if __name__ == "__main__":
    port = int(os.environ.get("CLOUDBURST_PORT", "5000"))
    sys.exit(not healthy(port, certificate=os.environ.get("CLOUDBURST_CERTIFICATE", "")))
