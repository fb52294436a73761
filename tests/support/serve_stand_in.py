"""``python serve_stand_in.py``: the render service with a stand-in for its render process."""

import logging
import sys
from functools import partial
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))
from cloudburst.service.config import load_settings
from cloudburst.service.lifecycle import listening_socket, serve

sys.path.insert(0, str(Path(__file__).parents[1]))  # this file runs as a script
from support.service_caller import PROBE, STAND_IN

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
settings = load_settings()
with listening_socket(settings) as listener:
    sys.exit(anyio.run(partial(serve, settings, listener, render=STAND_IN, probe=PROBE)))
