"""``python serve_stand_in.py``: the real service as a process, with the stand-in for its child."""

import logging
import sys
from functools import partial

import anyio
from calling import STAND_IN

from cloudburst.service.config import taken_settings
from cloudburst.service.lifecycle import bound, serve

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
settings = taken_settings()
with bound(settings) as listener:
    sys.exit(anyio.run(partial(serve, settings, listener, render=STAND_IN)))
