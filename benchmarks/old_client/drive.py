"""Runs the old client as a process of its own: ``python drive.py JOB``; see ``cloud/ours.py``.

It stands in the old client's environment, so it may import nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

old: Any = importlib.import_module("cloudburst_fargate")


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    began = time.time()
    old.execute_parallel_batches(
        job["scenes"],
        scenes_per_batch=len(job["scenes"]) // job["workers"],
        max_parallel_tasks=job["workers"],
        config_priority=1,
        saving_dir=job["to"],
    )
    returned = time.time()
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    figures = {"began": began, "returned": returned, "memory": int(found[1]) / 1024}
    Path(job["result"]).write_text(json.dumps(figures), "utf-8")


if __name__ == "__main__":
    main()
