"""Build the image without an engine, start it, render one scene in it, and weigh it.

    python benchmarks/image.py /tmp/image            # as root, on Debian, with debootstrap

Follows the Dockerfile itself: FROM, ARG, ENV, WORKDIR, COPY, RUN, USER and ENTRYPOINT are carried
out in plain folders with chroot. The public base image is stood in for by a minimal Debian with
Python, so the base's weight is an estimate and the weight of what we add to it is exact.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import io
import json
import math
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

PROJECT = Path(__file__).parent.parent
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
KEY = "benchmark"
PORT = 5977
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTSIDE = ("proc", "sys", "dev")


@dataclass
class Stage:
    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    folder: str = "/"
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        env = [f"{name}={value}" for name, value in self.env.items()]
        inner = f'cd {shlex.quote(self.folder)} && exec "$@"'
        switch = ["chroot", *([] if self.user == "root" else ["--userspec", self.user])]
        return [*switch, str(self.root), "env", "-i", *env, "sh", "-c", inner, "sh", *words]


def base_root(folder: Path) -> Path:
    """Make a Debian with the content of ``python:3.13-slim``: Python and its certificates."""
    root = folder / "base"
    if not (root / "usr/bin/python3").exists():
        run("debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "trixie", str(root))
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(root / waste, ignore_errors=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    return root


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    lines = [line.strip() for line in joined.splitlines()]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines if line]


def build(folder: Path) -> Stage:  # noqa: C901 - one case a word
    """Carry out the Dockerfile; the last stage."""
    base = base_root(folder)
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for word, rest in instructions((PROJECT / "Dockerfile").read_text()):
        match word:
            case "ARG" | "EXPOSE" | "HEALTHCHECK" | "CMD":
                pass
            case "FROM":
                name = rest.split()[2] if " AS " in rest else "image"
                root = folder / name
                shutil.rmtree(root, ignore_errors=True)
                run("cp", "-a", str(base), str(root))
                stage = stages[name] = Stage(root)
            case "ENV":
                for pair in shlex.split(rest):
                    name, value = pair.split("=", 1)
                    stage.env[name] = value.replace("$PATH", stage.env["PATH"])
            case "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = rest
            case "COPY":
                copy(rest.split(), stage, stages)
            case "RUN":
                print("RUN", rest[:100], flush=True)
                with network(stage.root):
                    run(*stage.command("sh", "-c", rest))
            case "ENTRYPOINT":
                stage.entrypoint = json.loads(rest)
            case _:
                raise SystemExit(f"the Dockerfile says {word}, which this script does not know")
    return stage


def copy(words: list[str], stage: Stage, stages: dict[str, Stage]) -> None:
    *sources, target = words
    source_root = PROJECT
    if sources[0].startswith("--from="):
        source_root = stages[sources.pop(0).removeprefix("--from=")].root
    for source in sources:
        came = source_root / source.lstrip("/")
        goes = stage.root / os.path.normpath(f"{stage.folder}/{target}").lstrip("/")
        if target.startswith("/"):
            goes = stage.root / target.lstrip("/")
        if came.is_dir():
            shutil.copytree(came, goes, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            goes.mkdir(parents=True, exist_ok=True)
            shutil.copy2(came, goes)


def ignored(folder: str, names: list[str]) -> set[str]:
    if not folder.startswith(str(PROJECT)):
        return set()
    return set(fnmatch.filter(names, "__pycache__"))


class network:  # noqa: N801 - reads as a word in its with statement
    """Lend a root this machine's way to the package registry, and take it back."""

    FILES = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept: dict[str, bytes | None] = {}

    def __enter__(self) -> None:
        for name in self.FILES:
            here, there = Path("/", name), self.root / name
            self.kept[name] = there.read_bytes() if there.exists() else None
            if here.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                there.write_bytes(here.read_bytes())
        for name in ("proc", "dev"):
            run("mount", "--rbind", f"/{name}", str(self.root / name))

    def __exit__(self, *_: object) -> None:
        for name in ("dev", "proc"):
            run("umount", "-R", "-l", str(self.root / name))
        for name, content in self.kept.items():
            if content is None:
                (self.root / name).unlink(missing_ok=True)
            else:
                (self.root / name).write_bytes(content)


def weigh(root: Path, *parts: str) -> int:
    """Bytes of the parts, packed as an image's layer is."""
    out = [f"--exclude=./{name}/*" for name in OUTSIDE]
    tar = ["tar", "-C", str(root), *out, "-cf", "-", *(parts or (".",))]
    packed = subprocess.run(
        f"{shlex.join(tar)} | gzip -6 | wc -c", shell=True, check=True, capture_output=True
    )
    return int(packed.stdout)


def report(stage: Stage) -> None:
    base = weigh(stage.root.parent / "base")
    packages = next((stage.root / "opt/cloudburst/lib").glob("python3*/site-packages"))
    rows = [("base (stand-in)", base), ("/opt/cloudburst", weigh(stage.root, "opt/cloudburst"))]
    sizes = []
    for part in packages.iterdir():
        inside = str(part.relative_to(stage.root))
        sizes.append((f"  {part.name}", weigh(stage.root, inside)))
    sizes.sort(key=lambda row: -row[1])
    rows += sizes[:14]
    rows.append(("the whole image", weigh(stage.root)))
    for name, size in rows:
        print(f"{name:40} {size / 1e6:8.1f} MB compressed")


def call(method: str, path: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=body,
        method=method,
        headers={"X-Authentication-Key": KEY},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def scene() -> dict[str, bytes]:
    picture, sound = io.BytesIO(), io.BytesIO()
    image = Image.new("RGB", (1600, 900), "steelblue")
    ImageDraw.Draw(image).ellipse((500, 200, 1100, 700), fill="orange")
    image.save(picture, "JPEG")
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        tone = (round(9000 * math.sin(n / 12)) for n in range(24_000 * 3))
        file.writeframes(b"".join(struct.pack("<h", value) for value in tone))
    subtitle = "1\n00:00:00,000 --> 00:00:03,000\n你好，世界 hello\n".encode()
    return {"image": picture.getvalue(), "audio": sound.getvalue(), "subtitle": subtitle}


def put(content: bytes) -> str:
    sha = hashlib.sha256(content).hexdigest()
    call("PUT", f"/files/{sha}", content)
    return sha


def try_out(stage: Stage) -> None:
    """Start the service as its user, render one scene, and stop it."""
    stage.env |= {"AUTHENTICATION_KEY": KEY, "CLOUDBURST_PORT": str(PORT)}
    run("mount", "--rbind", "/proc", str(stage.root / "proc"))
    run("mount", "--rbind", "/dev", str(stage.root / "dev"))
    service = subprocess.Popen(stage.command(*stage.entrypoint))
    try:
        began = time.perf_counter()
        while True:
            try:
                call("GET", "/health")
                break
            except (urllib.error.URLError, ConnectionError):
                if service.poll() is not None or time.perf_counter() - began > 60:
                    raise
                time.sleep(0.05)
        print(f"healthy after {time.perf_counter() - began:.2f} s")
        run(*stage.command("python", "-m", "cloudburst.service.health"))
        status = Path(f"/proc/{service.pid}/status").read_text()
        print("runs as", re.search(r"Uid:\s+(\d+)", status).group(1))  # type: ignore[union-attr]
        files = {name: put(content) for name, content in scene().items()}
        began = time.perf_counter()
        job = json.loads(call("POST", "/jobs", json.dumps({"name": "x", **files}).encode()))["id"]
        last = json.loads(call("GET", f"/jobs/{job}/events").splitlines()[-1])
        if last["state"] != "done":
            raise SystemExit(f"the scene failed: {last['error']}")
        video = call("GET", f"/jobs/{job}/video")
        print(f"rendered {last['done']} in {time.perf_counter() - began:.2f} s")
        (stage.root.parent / "scene.mp4").write_bytes(video)
    finally:
        service.terminate()
        print("exit code", service.wait(30))
        for name in ("dev", "proc"):
            run("umount", "-R", "-l", str(stage.root / name))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the roots are made (about 2 GB)")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        sys.exit("chroot needs root")
    stage = build(folder)
    report(stage)
    try_out(stage)


if __name__ == "__main__":
    main()
