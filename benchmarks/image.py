"""Build of the container image without a container engine, one scene rendered in it, and its size.

    python benchmarks/image.py /tmp/image            # as root, on Debian, with debootstrap

The instructions of the Dockerfile are executed in plain folders, with chroot: FROM, ARG, ENV,
WORKDIR, COPY, RUN, USER and ENTRYPOINT. A minimal Debian with Python replaces the public base
image. Therefore the size of the base is an estimate; the sizes of the layers on it are exact.
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
NOT_IN_IMAGE = ("proc", "sys", "dev")
"""Folders whose content is not part of an image."""


@dataclass
class Stage:
    """Build stage: root folder of its files, and the settings of its instructions."""

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
    """Make a Debian with Python and certificates, in place of ``python:3.13-slim``."""
    root = folder / "base"
    if not (root / "usr/bin/python3").exists():
        run("debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "trixie", str(root))
        for unused in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(root / unused, ignore_errors=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    return root


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, as word and arguments."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    lines = [line.strip() for line in joined.splitlines()]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines if line]


def build(folder: Path) -> Stage:  # noqa: C901 - one case for each word
    """Execute the Dockerfile, and return its last stage."""
    base = base_root(folder)
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for word, rest in instructions((PROJECT / "Dockerfile").read_text()):
        match word:
            case "ARG" | "CMD" | "EXPOSE" | "HEALTHCHECK" | "LABEL" | "VOLUME":
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
                with PackageNetwork(stage.root):
                    run(*stage.command("sh", "-c", rest))
            case "ENTRYPOINT":
                stage.entrypoint = json.loads(rest)
            case _:
                raise SystemExit(f"Dockerfile: {word} is not supported; add it to {__file__}")
    return stage


def copy(words: list[str], stage: Stage, stages: dict[str, Stage]) -> None:
    """Execute a COPY instruction with these arguments."""
    *sources, target = words
    source_root = PROJECT
    if sources[0].startswith("--from="):
        source_root = stages[sources.pop(0).removeprefix("--from=")].root
    for source in sources:
        source_path = source_root / source.lstrip("/")
        target_path = stage.root / os.path.normpath(f"{stage.folder}/{target}").lstrip("/")
        if target.startswith("/"):
            target_path = stage.root / target.lstrip("/")
        if source_path.is_dir():
            shutil.copytree(
                source_path, target_path, symlinks=True, dirs_exist_ok=True, ignore=ignored
            )
        else:
            target_path.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source_path, target_path)


def ignored(folder: str, names: list[str]) -> set[str]:
    """Return the names in a folder that COPY ignores."""
    if not folder.startswith(str(PROJECT)):
        return set()
    return set(fnmatch.filter(names, "__pycache__"))


class PackageNetwork:
    """Context in which a root folder has this machine's settings for the package registry.

    The former files are restored at the end.
    """

    FILES = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.former: dict[str, bytes | None] = {}

    def __enter__(self) -> None:
        for name in self.FILES:
            source, target = Path("/", name), self.root / name
            self.former[name] = target.read_bytes() if target.exists() else None
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        for name in ("proc", "dev"):
            run("mount", "--rbind", f"/{name}", str(self.root / name))

    def __exit__(self, *_: object) -> None:
        for name in ("dev", "proc"):
            run("umount", "-R", "-l", str(self.root / name))
        for name, content in self.former.items():
            if content is None:
                (self.root / name).unlink(missing_ok=True)
            else:
                (self.root / name).write_bytes(content)


def compressed_size(root: Path, *parts: str) -> int:
    """Return the size of some folders in bytes, compressed as a layer of an image."""
    excluded = [f"--exclude=./{name}/*" for name in NOT_IN_IMAGE]
    tar = ["tar", "-C", str(root), *excluded, "-cf", "-", *(parts or (".",))]
    done = subprocess.run(
        f"{shlex.join(tar)} | gzip -6 | wc -c", shell=True, check=True, capture_output=True
    )
    return int(done.stdout)


def print_sizes(stage: Stage) -> None:
    base = compressed_size(stage.root.parent / "base")
    packages = next((stage.root / "opt/cloudburst/lib").glob("python3*/site-packages"))
    rows = [("base (estimate)", base)]
    rows.append(("/opt/cloudburst", compressed_size(stage.root, "opt/cloudburst")))
    sizes = []
    for part in packages.iterdir():
        inner = str(part.relative_to(stage.root))
        sizes.append((f"  {part.name}", compressed_size(stage.root, inner)))
    sizes.sort(key=lambda row: -row[1])
    rows += sizes[:14]
    rows.append(("whole image", compressed_size(stage.root)))
    for name, size in rows:
        print(f"{name:40} {size / 1e6:8.1f} MB compressed")


def call(method: str, path: str, body: bytes | None = None) -> bytes:
    """Send a request to the service, and return the content of the response."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=body,
        method=method,
        headers={"X-Authentication-Key": KEY},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        content: bytes = response.read()
        return content


def scene() -> dict[str, bytes]:
    """Return the files of a scene, by their names in a job."""
    picture, audio = io.BytesIO(), io.BytesIO()
    image = Image.new("RGB", (1600, 900), "steelblue")
    ImageDraw.Draw(image).ellipse((500, 200, 1100, 700), fill="orange")
    image.save(picture, "JPEG")
    with wave.open(audio, "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        tone = (round(9000 * math.sin(n / 12)) for n in range(24_000 * 3))
        file.writeframes(b"".join(struct.pack("<h", value) for value in tone))
    subtitle = "1\n00:00:00,000 --> 00:00:03,000\n你好，世界 hello\n".encode()
    return {"image": picture.getvalue(), "audio": audio.getvalue(), "subtitle": subtitle}


def upload(content: bytes) -> str:
    """Upload a file, and return its hash."""
    sha = hashlib.sha256(content).hexdigest()
    call("PUT", f"/files/{sha}", content)
    return sha


def try_service(stage: Stage) -> None:
    """Start the service as the user of the image, render one scene, and stop the service."""
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
        print("user id", re.search(r"Uid:\s+(\d+)", status).group(1))  # type: ignore[union-attr]
        files = {name: upload(content) for name, content in scene().items()}
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
    parser.add_argument("folder", type=Path, help="folder for the files of the image (about 2 GB)")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        sys.exit("chroot needs root privileges; run this benchmark as root")
    stage = build(folder)
    print_sizes(stage)
    try_service(stage)


if __name__ == "__main__":
    main()
