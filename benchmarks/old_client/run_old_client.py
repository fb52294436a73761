"""Program that renders scenes with the old client: ``python run_old_client.py JOB``.

JOB is the same as in ``cloud/run_our_client.py``. The program runs in the environment of the old
client, where modules of this project cannot be imported.
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
