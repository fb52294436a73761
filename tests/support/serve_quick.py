"""``python serve_quick.py``: the render service with quick renders, which logs everything."""

import logging
import sys
from functools import partial
from pathlib import Path

import anyio

from cloudburst.service.config import load_settings
from cloudburst.service.lifecycle import listening_socket, serve

sys.path.insert(0, str(Path(__file__).parents[1]))  # this file runs as a script
from support.service_caller import PROBE

RENDER = (sys.executable, "-I", "-S", str(Path(__file__).parent / "quick_render.py"))

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
settings = load_settings()
with listening_socket(settings) as listener:
    sys.exit(anyio.run(partial(serve, settings, listener, render=RENDER, probe=PROBE)))
