"""``python -m cloudburst.service``: the render service, told by the environment."""

from __future__ import annotations

import logging
import sys

import anyio
from pydantic import ValidationError

from cloudburst.errors import ConfigurationError
from cloudburst.service.config import taken_settings
from cloudburst.service.lifecycle import bound, serve


def main() -> int:
    """Serve; return the exit code."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        settings = taken_settings()
    except ValidationError as error:
        # Its own text would show the values, and one of them is the key.
        for fault in error.errors(include_input=False, include_url=False):
            words = (".".join(map(str, fault["loc"])), fault["msg"])
            sys.stderr.write(": ".join(filter(None, words)) + "\n")
        return 2
    try:
        with bound(settings) as listener:
            return anyio.run(serve, settings, listener)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{settings.host}:{settings.port}: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
