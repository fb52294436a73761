"""Start of the service: settings, a listening socket, and the event loop."""

from __future__ import annotations

import logging
import sys

import anyio
from pydantic import ValidationError

from cloudburst.errors import ConfigurationError
from cloudburst.service.config import load_settings
from cloudburst.service.lifecycle import listening_socket, serve


def run() -> int:
    """Run the service until it stops, and return the exit code."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # uvicorn warns about each malformed request; any peer could fill the log with them.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    try:
        settings = load_settings()
    except ValidationError as error:
        # The text of the error would show the values, and one of them is the key.
        for fault in error.errors(include_input=False, include_url=False):
            words = (".".join(map(str, fault["loc"])), fault["msg"])
            sys.stderr.write(": ".join(filter(None, words)) + "\n")
        return 2
    try:
        with listening_socket(settings) as listener:
            return anyio.run(serve, settings, listener)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{settings.host}:{settings.port}: {error}\n")
        return 2
