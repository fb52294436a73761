"""Plays the render process: its video is a text in the boxes of an MP4 file, never the same twice.

Started as ``python -I -S quick_render.py FOLDER``. A scene whose name ends in ``MB`` has a video of
that size; one whose name begins with ``late`` takes a second.
"""

import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
job = json.loads((folder / "job.json").read_bytes())
boxes = {b"ftyp": b"isom" * 4, b"moov": b"index"}
video = b"".join((8 + len(data)).to_bytes(4) + kind + data for kind, data in boxes.items())
text = f"video of {job['name']}, {os.urandom(8).hex()}".encode()
if large := re.search(r"(\d+)MB$", job["name"]):
    text = text.ljust((int(large.group(1)) << 20) - len(video) - 8, b".")
video += (8 + len(text)).to_bytes(4) + b"mdat" + text
if job["name"].startswith("late"):
    time.sleep(1)
(folder / "video.mp4").write_bytes(video)
cover = None
if job["options"].get("cover"):
    picture = b"a picture of " + job["name"].encode()
    (folder / "cover.jpg").write_bytes(picture)
    cover = {"size": len(picture), "sha256": hashlib.sha256(picture).hexdigest()}
done = {
    "seconds": 0.3,
    "frames": 9,
    "width": 1920,
    "height": 1080,
    "size": len(video),
    "sha256": hashlib.sha256(video).hexdigest(),
    "cover": cover,
}
sys.stdout.write(json.dumps({"done": done}) + "\n")
