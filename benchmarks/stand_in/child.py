"""Plays the render child: takes BENCH_SECONDS, then leaves a file of BENCH_BYTES in MP4's shape.

Started as ``python -I -S child.py FOLDER``, without any of our imports, so that what is measured
is the way of a scene and not its render. A line of BENCH_TIMES says when it began and ended.
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


def say(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def end_with_server() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


def mp4(size: int, content: bytes) -> bytes:
    boxes = {b"ftyp": b"isom" * 4, b"moov": b"index" * 100}
    head = b"".join((len(b) + 8).to_bytes(4, "big") + kind + b for kind, b in boxes.items())
    left = size - len(head) - 8
    return head + (left + 8).to_bytes(4, "big") + b"mdat" + content + bytes(left - len(content))


def main() -> None:
    began = time.monotonic()
    seconds, size, times_file, folder = (
        float(sys.argv[1]),
        int(sys.argv[2]),
        *map(Path, sys.argv[3:]),
    )
    threading.Thread(target=end_with_server, daemon=True).start()
    video = mp4(size, (folder / "job.json").read_bytes())
    (folder / "video.mp4").write_bytes(video)
    digest = hashlib.sha256(video).hexdigest()
    for step in range(STEPS):
        say(progress=step / STEPS)
        time.sleep(max(0.0, began + seconds * (step + 1) / STEPS - time.monotonic()))
    facts = {"seconds": 3.0, "frames": 90, "width": 1920, "height": 1080, "scenario": "baseline"}
    say(done={**facts, "size": len(video), "sha256": digest})
    with times_file.open("a", encoding="ascii") as times:
        times.write(f"{began} {time.monotonic()}\n")


main()
