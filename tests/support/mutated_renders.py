"""Renders of files with random errors: ``python mutated_renders.py FIRST COUNT``.

Before them come a file without errors and one that is none. Each is rendered by
`cloudburst.renderer.render_process` in a fork of this process, which has imported everything
already. A line of JSON is written for each.
"""

# PyAV's types of `add_stream` and `mux` are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import io
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import av
from PIL import Image

from cloudburst.renderer import render_process
from support.font_files import latin_font
from support.render_job import lay_job
from support.sample_media import HEIC, quadrants
from support.service_inputs import tone

HANG = 90.0
"""Seconds after which a render is killed, more than its CPU time allows on an idle machine."""
SRT = "1\n00:00:00,000 --> 00:00:00,300\nHello <b>bold</b> <i>if</i>\n"
LRC = "[ti:A song]\n[00:00.00]one <00:00.10>two\n[00:00.20]three\n"
VTT = "WEBVTT\n\nSTYLE\n::cue { color: red }\n\n00:00.000 --> 00:00.300 line:10%\n<v A>Hello\n"
ASS = (
    "[Script Info]\nScriptType: v4.00+\nPlayResX: 480\n\n[V4+ Styles]\n"
    "Format: Name, Fontname, Fontsize, PrimaryColour\nStyle: Default,Arial,20,&H00FFFFFF\n\n"
    "[Events]\nFormat: Start, End, Style, Text\n"
    "Dialogue: 0:00:00.00,0:00:00.30,Default,{\\b1\\pos(3,4)}Hello{\\k10}there\n"
)
PICTURES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("PNG", "RGB", {}),
    ("PNG", "P", {}),
    ("PNG", "RGBA", {}),
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("AVIF", "RGBA", {}),
    ("GIF", "P", {}),
    ("BMP", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
)
SOUNDS = (
    ("wav", "pcm_s16le"),
    ("wav", "adpcm_ms"),
    ("mp3", "mp3"),
    ("flac", "flac"),
    ("ipod", "aac"),
    ("ipod", "alac"),
    ("ogg", "libopus"),
    ("ogg", "flac"),
)


class Sample(NamedTuple):
    """A good file, and what it is in a job."""

    name: str
    field: str
    data: bytes


def samples() -> Iterator[Sample]:
    for kind, mode, options in PICTURES:
        buffer = io.BytesIO()
        quadrants(96, 54, mode).save(buffer, kind, **options)
        for field in ("image", "watermark"):
            yield Sample(f"{kind} {mode}", field, buffer.getvalue())
    for path in sorted(HEIC.glob("*.heic")):
        yield Sample(path.stem, "image", path.read_bytes())
    for container, codec in SOUNDS:
        data = sound(container, codec)
        for field in ("audio", "music"):
            yield Sample(f"{container} {codec}", field, data)
    for name, text in (("srt", SRT), ("vtt", VTT), ("ass", ASS), ("lrc", LRC)):
        yield Sample(name, "subtitle", text.encode())
    for number in range(4):
        yield Sample(f"font {number}", "font", latin_font())


def sound(container: str, codec: str) -> bytes:
    """Return half a second of a tone in a format."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "tone"), Path(folder, "sound")
        tone(source, 0.5)
        with av.open(str(source)) as given, av.open(str(target), "w", format=container) as made:
            stream: Any = made.add_stream(codec, rate=48_000)
            resampler = av.AudioResampler(layout="mono", rate=48_000)
            for frame in given.decode(audio=0):
                for part in resampler.resample(frame):
                    made.mux(stream.encode(part))
            made.mux(stream.encode(None))
        return target.read_bytes()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a file with some errors, most of them near its start, where its tables are."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        size = max(1, len(changed))
        at = rng.randrange(min(size, 200) if rng.random() < 0.4 else size)
        end = min(size, at + rng.choice((1, 2, 4, 8, 100)))
        match rng.randrange(7):
            case 0 | 1 | 2:
                changed[at:end] = rng.randbytes(end - at)
            case 3:
                changed[at:end] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * (end - at)
            case 4:
                changed[at:end] = b""
            case 5:
                changed[at:at] = changed[at:end]
            case _:
                del changed[max(1, size - rng.randrange(size)) :]
    return bytes(changed)


def rendered(seed: int, sample: Sample, data: bytes) -> dict[str, Any]:
    """Render a scene with this content of a file; return what happened."""
    folder = Path(tempfile.mkdtemp(prefix="cloudburst-mutation-"))
    try:
        subtitle = SRT if sample.field in {"font", "subtitle"} else None
        picture = Image.new("RGB", (32, 18))
        lay_job(folder, picture=picture, subtitle=subtitle, seconds=0.2, size="480x270")
        if sample.field == "font":
            job = json.loads((folder / "job.json").read_bytes())
            job["options"]["font"] = ["font"]
            (folder / "job.json").write_text(json.dumps(job))
        (folder / sample.field).write_bytes(data)
        began = time.monotonic()
        status, usage = run(folder)
        lines = (folder / "output").read_bytes().splitlines()
        last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return {
            "seed": seed,
            "sample": sample.name,
            "field": sample.field,
            "code": status if status is None else os.waitstatus_to_exitcode(status),
            "seconds": round(time.monotonic() - began, 2),
            "cpu": round(usage.ru_utime + usage.ru_stime, 2),
            "fault": last.get("fault"),
            "reading": last.get("reading"),
            "errors": (folder / "errors").read_text(errors="replace")[-300:],
        }
    finally:
        shutil.rmtree(folder)


def run(folder: Path) -> tuple[int | None, resource.struct_rusage]:
    """Run the render process of a job in a fork; the status is ``None`` if it hangs."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            os.close(theirs)
            os.dup2(ours, 0)
            for descriptor, name in ((1, "output"), (2, "errors")):
                os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY), descriptor)
            code = render_process.main(folder)
            with suppress(PermissionError):
                os.kill(os.getppid(), 0)
                code = 3  # it is not confined
        except BaseException as exc:  # noqa: BLE001 - a fork must not go on
            os.write(2, repr(exc).encode())
        finally:
            os._exit(code)
    os.close(ours)
    process = os.pidfd_open(child)
    hangs = not select.select([process], [], [], HANG)[0]
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    os.close(process)
    os.close(theirs)
    return (None if hangs else status), usage


def main(first: int, count: int) -> None:
    """Render a good file, what is none, and mutations, and write a line for each."""
    kinds = list(samples())
    kind = kinds[first % len(kinds)]
    files = [(first, kind, kind.data), (first, kind, b"x")]
    for seed in range(first, first + count):
        kind = kinds[seed % len(kinds)]
        files.append((seed, kind, mutated(kind.data, random.Random(seed))))
    for file in files:
        sys.stdout.write(json.dumps(rendered(*file)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
