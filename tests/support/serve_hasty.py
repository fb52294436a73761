"""``python serve_hasty.py``: the service of serve_quick.py, which gives up slow servers soon."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this file runs as a script

from cloudburst.net.transfers.requests import DEFAULT_POLICY

POLICY = {"connect_timeout": 2.0, "answer_timeout": 1.0, "pace_window": 1.0, "pace_bytes": 4096}

for name, value in POLICY.items():
    object.__setattr__(DEFAULT_POLICY, name, value)  # the default argument of all transfers
runpy.run_path(str(Path(__file__).parent / "serve_quick.py"), run_name="__main__")
