"""One client, one run, one emulated account; and what was seen of it from the account's side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from cloudburst.emulator import programs
from cloudburst.testing import Call, EmulatorConfig, FargateEmulator, Task

OURS = Path(__file__).with_name("ours.py")
WORKER = Path(__file__).with_name("worker.py")
SECONDS_TO_RUN = 1200.0
THROTTLED = {"ThrottlingException", "RequestLimitExceeded"}
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Times are seconds since the epoch, on this machine's one clock."""

    figures: Mapping[str, Any]
    """What the client's process says of itself."""
    process: float
    """Seconds from its start to its end: with imports, and whatever comes after the call."""
    tasks: Sequence[Task]
    """As they were when that process had ended."""
    max_live: int
    calls: Sequence[Call]
    notes: Mapping[str, Sequence[tuple[float, str]]]
    """Of the worker at each address."""
    videos: Mapping[str, int]
    """Bytes of each file by the name of its scene; 0 when it is no MP4."""

    @property
    def wall(self) -> float:
        """Seconds of the call."""
        return float(self.figures["returned"] - self.figures["began"])

    @property
    def left_running(self) -> int:
        """Tasks that nobody has stopped."""
        return sum(task.live for task in self.tasks)

    @property
    def calls_until_return(self) -> int:
        """Those to AWS before the call had its result."""
        return sum(call.at <= self.figures["returned"] for call in self.calls)

    def ready_to_asked(self) -> list[float]:
        """Seconds from a worker's being ready until it was asked for a first video, by task."""
        return [asked - ready for ready, asked, _ in self._moments()]

    def sent_to_stop(self) -> list[float]:
        """Seconds from a worker's last byte of its last video to the call of StopTask, by task."""
        stops = {task.address: task.stopping for task in self.tasks}
        return [
            stop - sent
            for (_, _, sent), stop in zip(
                self._moments(), (stops[a] for a in self._busy()), strict=True
            )
            if stop is not None
        ]

    def _busy(self) -> list[str]:
        """Addresses of the workers that made videos."""
        return [a for a, notes in self.notes.items() if any(word == "sent" for _, word in notes)]

    def _moments(self) -> list[tuple[float, float, float]]:
        found = []
        for address in self._busy():
            by_word = {
                word: [at for at, said in self.notes[address] if said == word]
                for word in ("listening", "asked", "sent")
            }
            found.append((by_word["listening"][0], by_word["asked"][0], by_word["sent"][-1]))
        return found


def make_scenes(
    folder: Path, sounds: Sequence[float], *, image_bytes: int
) -> list[dict[str, str | None]]:
    """Make scenes with a picture of about ``image_bytes``, subtitles, and audio of ``sounds`` s."""
    folder.mkdir()
    side = max(16, int((image_bytes / 3) ** 0.5))
    picture, subtitle = folder / "image.bmp", folder / "subtitle.srt"
    Image.effect_noise((side, side), 80).convert("RGB").save(picture)
    subtitle.write_text("1\n00:00:00,000 --> 00:00:01,000\nThe bell rang.\n", "utf-8")
    scenes = list[dict[str, str | None]]()
    for number, seconds in enumerate(sounds):
        sound = folder / f"sound-{seconds:g}.wav"
        if not sound.exists():
            with wave.open(str(sound), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes(bytes(2 * round(8000 * seconds)))
        scenes.append(
            {
                "scene_name": f"scene-{number:04d}",
                "image_path": str(picture),
                "audio_path": str(sound),
                "subtitle_path": str(subtitle),
            }
        )
    return scenes


def run_client(
    config: EmulatorConfig,
    scenes: Sequence[Mapping[str, str | None]],
    folder: Path,
    *,
    workers: int,
    noted: bool,
    command: Sequence[str | Path] = (sys.executable, OURS),
) -> Ran:
    """Let a client's process render the scenes in an account of its own, into a new folder.

    Args:
        config: The account.
        scenes: As dictionaries of the old client's kind.
        folder: Does not exist yet.
        workers: Tasks at once.
        noted: Whether workers note what happened, which makes them start slower.
        command: What runs the client; ours unless told.
    """
    folder.mkdir()
    notes, out, log, result = (folder / name for name in ("notes", "out", "log", "result"))
    notes.mkdir()
    if noted:
        (worker_folder,) = programs.__path__
        config = replace(
            config,
            worker=(sys.executable, "-I", "-S", str(WORKER), worker_folder),
            worker_environment={**config.worker_environment, "BENCH_NOTES": f"{notes}/{{host}}"},
        )
    job = {"scenes": list(scenes), "to": str(out), "workers": workers, "result": str(result)}
    (folder / "job").write_text(json.dumps(job), "utf-8")
    with FargateEmulator(config) as aws:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= aws.environment | {
            "XDG_STATE_HOME": str(folder / "state"),
            "RESULTS_DIR": str(out),
        }
        began = time.time()
        with log.open("wb") as file:
            done = subprocess.run(
                [*command, folder / "job"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=SECONDS_TO_RUN,
                check=False,
            )
        process = time.time() - began
        if done.returncode:
            sys.exit(f"{command[1]} ended with {done.returncode}:\n{log.read_text()[-4000:]}")
        return Ran(
            figures=json.loads(result.read_text("utf-8")),
            process=process,
            tasks=aws.tasks,
            max_live=aws.max_live,
            calls=aws.calls,
            notes={path.name: _read(path) for path in notes.iterdir()},
            videos={path.stem: _size(path) for path in out.rglob("*.mp4")},
        )


def _read(path: Path) -> list[tuple[float, str]]:
    pairs = (line.split() for line in path.read_text("ascii").splitlines())
    return [(float(at), word) for at, word in pairs]


def _size(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(8)
    return path.stat().st_size if head[4:] == b"ftyp" else 0
