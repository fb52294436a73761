"""Plays a process of shared encoding: what it does is written in the job's image, as JSON.

``{"gop": "hang" | "finish" | "fail", "started": FOLDER}``. It writes a file with its process id as
the name into the folder. Started as ``python -I -S gop_stand_in.py FOLDER``.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main():
    todo = json.loads((Path(sys.argv[1]) / "image").read_bytes())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    started = Path(todo["started"])
    (started / str(os.getpid())).touch()
    if todo["gop"] == "hang":
        time.sleep(600)
    if todo["gop"] == "second finishes" and len(list(started.iterdir())) < 2:
        time.sleep(600)
    sys.exit(1 if todo["gop"] == "fail" else 0)


main()
