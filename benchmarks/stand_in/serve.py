"""The real service, told by the environment as ever, with a stand-in for its render child."""

import logging
import sys
from functools import partial
from pathlib import Path

import anyio

from cloudburst.service.config import taken_settings
from cloudburst.service.lifecycle import bound, serve

RENDER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py")))

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    settings = taken_settings()
    with bound(settings) as listener:
        sys.exit(anyio.run(partial(serve, settings, listener, render=RENDER)))
