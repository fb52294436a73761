"""Plays the render child: what it does is written in the job's image, as JSON.

``{"do": "render" | "hang" | "fork" | "leave" | "crash" | "killed" | "fault" | "flood" | …}``.
One that is ``deaf`` does not notice the end of the server. Started as
``python -I -S stand_in.py FOLDER``, so that it is there in 20 ms.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def say(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def grandchild(pid_file, **pipes):
    """A process that SIGTERM does not end."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], **pipes)
    path = Path(pid_file)
    path.with_suffix(".new").write_text(f"{os.getpid()} {process.pid}")
    path.with_suffix(".new").rename(path)


def end_with_server():
    def watch():
        while os.read(0, 4096):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def done(folder, seconds, size=None, cover=None):
    video = b"video of " + (folder / "job.json").read_bytes()
    (folder / "video.mp4").write_bytes(video)
    say(
        done={
            "seconds": seconds,
            "frames": round(seconds * 30),
            "width": 1920,
            "height": 1080,
            "size": len(video) if size is None else size,
            "sha256": hashlib.sha256(video).hexdigest(),
            "cover": cover,
        }
    )


def render(folder, todo):
    steps = todo.get("steps", 4)
    for step in range(steps):
        say(progress=step / steps)
        time.sleep(todo.get("seconds", 0.0) / steps)
    done(folder, 3.0)


def cover(folder, todo):
    """Write a cover, and report the size that the test says."""
    data = b"a picture"
    (folder / "cover.jpg").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    done(folder, 3.0, cover={"size": todo.get("size", len(data)), "sha256": sha256})


def hang(folder, todo):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(progress=0.5)
    time.sleep(600)


def fork(folder, todo):
    grandchild(todo["pids"])
    time.sleep(600)


def leave(folder, todo):
    grandchild(todo["pids"])
    done(folder, 3.0)


def crash(folder, todo):
    sys.stderr.write("something broke\n" * 5000)
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def killed(folder, todo):
    say(reading="audio")
    say(reading=todo["reading"])
    os.kill(os.getpid(), todo["signal"])


def fault(folder, todo):
    say(fault={"field": "audio", "found": "a poem", "expected": "sound"})
    sys.exit(2)


def flood(folder, todo):
    sys.stdout.write("not JSON\n" + "x" * 3_000_000 + "\n" + '{"surprise": 1}\n')
    done(folder, 3.0)


def share(folder, todo):
    """Announce GOPs, and end when the test says so."""
    for _ in range(todo.get("announcements", 1)):
        say(gops=todo["gops"])
    while not Path(todo["end"]).exists():
        time.sleep(0.01)
    done(folder, 3.0)


def lie(folder, todo):
    done(folder, 3.0, size=1)


def spy(folder, todo):
    try:
        with Path(todo["path"]).open("rb") as file:
            found = repr(file.read(100))
    except OSError as error:
        found = type(error).__name__
    say(fault={"field": "image", "found": found, "expected": "nothing"})
    sys.exit(2)


def main():
    folder = Path(sys.argv[1])
    todo = json.loads((folder / "image").read_bytes())
    if not todo.get("deaf"):
        end_with_server()
    deeds = (render, cover, hang, fork, leave, crash, killed, fault, flood, share, lie, spy)
    {deed.__name__: deed for deed in deeds}[todo["do"]](folder, todo)


main()
