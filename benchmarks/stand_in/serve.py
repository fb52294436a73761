"""The real service, told by the environment as ever, with a stand-in for its render child."""

import logging
import sys
from functools import partial
from pathlib import Path

import anyio

from cloudburst.service.config import load_settings
from cloudburst.service.lifecycle import listening_socket, serve

RENDER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py")), *sys.argv[1:])

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    settings = load_settings()
    with listening_socket(settings) as listener:
        sys.exit(anyio.run(partial(serve, settings, listener, render=RENDER)))
