"""Program that runs moto's server on an unused port of 127.0.0.1, and prints the port."""

from __future__ import annotations

import hmac
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

TOKEN_VARIABLE = "CLOUDBURST_MOTO_TOKEN"  # noqa: S105 - the name of a variable
"""Name of the environment variable with the token that callers must send in the header
``X-Emulator-Token``. The token is needed because moto checks no signatures, and other users of this
machine can reach its port."""
HEADER = "HTTP_X_EMULATOR_TOKEN"
"""Key of the header ``X-Emulator-Token`` in a WSGI environment."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def guarded(application: Application, token: str) -> Application:
    """Wrap a WSGI application so that callers without the token get status 403."""

    def guard(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        sent = str(environ.pop(HEADER, ""))
        if hmac.compare_digest(sent.encode(), token.encode()):
            return application(environ, start)
        start("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    return guard


def main() -> None:
    """Run the server until it is killed; requires ``moto[server]``."""
    # The emulator imports this module for its constants, without moto.
    from moto.core.config import default_user_config  # noqa: PLC0415
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Programs of callers must not run.
    default_user_config.update({"batch": {"use_docker": False}, "lambda": {"use_docker": False}})
    server = make_server(
        "127.0.0.1",
        0,
        guarded(DomainDispatcherApplication(create_backend_app), os.environ.pop(TOKEN_VARIABLE)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    sys.stdout.write(f"port {server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
