"""Fake render process: it takes a given time and makes an MP4 file of a given size.

It is started as ``python -I -S render_process.py SECONDS BYTES TIMES FOLDER``. It imports nothing
of this project, so that almost no time is spent in it. It appends a line with the times of the
start and end of the process, in seconds of the monotonic clock, to the file TIMES.
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

STEPS = 30


def report(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def exit_with_service() -> None:
    """Kill this process when the service closes its standard input."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


def mp4(size: int, content: bytes) -> bytes:
    boxes = {b"ftyp": b"isom" * 4, b"moov": b"index" * 100}
    head = b"".join((len(b) + 8).to_bytes(4, "big") + kind + b for kind, b in boxes.items())
    left = size - len(head) - 8
    return head + (left + 8).to_bytes(4, "big") + b"mdat" + content + bytes(left - len(content))


def process_start() -> float:
    """Return the time at which this process was started, which is before Python began to run."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age


def main() -> None:
    began = time.monotonic()
    seconds, size, times_file, folder = (
        float(sys.argv[1]),
        int(sys.argv[2]),
        *map(Path, sys.argv[3:]),
    )
    threading.Thread(target=exit_with_service, daemon=True).start()
    video = mp4(size, (folder / "job.json").read_bytes())
    (folder / "video.mp4").write_bytes(video)
    digest = hashlib.sha256(video).hexdigest()
    for step in range(STEPS):
        report(progress=step / STEPS)
        time.sleep(max(0.0, began + seconds * (step + 1) / STEPS - time.monotonic()))
    facts = {"seconds": 3.0, "frames": 90, "width": 1920, "height": 1080}
    report(done={**facts, "size": len(video), "sha256": digest})
    with times_file.open("a", encoding="ascii") as times:
        times.write(f"{process_start()} {time.monotonic()}\n")


main()
