"""Runs of a client process in an emulated AWS account of its own, and what the account recorded."""

from __future__ import annotations

import json
import math
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

OUR_CLIENT = Path(__file__).with_name("run_our_client.py")
WORKER = Path(__file__).with_name("worker.py")
CLIENT_TIMEOUT = 1200.0
"""Seconds after which a client process is killed."""
THROTTLED = {"ThrottlingException", "RequestLimitExceeded"}
"""Notes of calls that AWS throttled."""
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
"""Environment variables that the client process inherits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRun:
    """Run of a client process, seen from the account. Times are in seconds since the epoch."""

    figures: Mapping[str, Any]
    """Figures that the client process has written about itself."""
    ended: float
    """Time at which the client process had ended."""
    tasks: Sequence[Task]
    """Tasks of the account when the client process had ended."""
    max_live: int
    """Highest number of tasks that ran at once."""
    calls: Sequence[Call]
    events: Mapping[str, Sequence[tuple[float, str]]]
    """Times and names of the events of each worker, by its address."""
    videos: Mapping[str, int]
    """Size of each video in bytes, by name of its scene; 0 if the file is not an MP4 file."""

    @property
    def wall(self) -> float:
        """Wall time of the client's call, in seconds."""
        return float(self.figures["returned"] - self.figures["began"])

    @property
    def wall_until_exit(self) -> float:
        """Seconds from the beginning of the client's call to the end of the client process."""
        return self.ended - float(self.figures["began"])

    @property
    def left_running(self) -> int:
        """Number of tasks that still ran when the client process had ended."""
        return sum(task.live for task in self.tasks)

    def idle_seconds(self) -> list[float]:
        """Return the seconds from ready to the first request for a video, of each worker."""
        return [requested - ready for ready, requested, _ in self._times()]

    def stop_delays(self) -> list[float]:
        """Return the seconds from the last byte of the last video to StopTask, of each worker."""
        stops = {task.address: task.stopping for task in self.tasks}
        return [
            stop - sent
            for (_, _, sent), stop in zip(
                self._times(), (stops[a] for a in self._used()), strict=True
            )
            if stop is not None
        ]

    def _used(self) -> list[str]:
        """Return the addresses of the workers that made videos."""
        return [a for a, events in self.events.items() if any(name == "sent" for _, name in events)]

    def _times(self) -> list[tuple[float, float, float]]:
        """Return when each worker was ready, was first asked, and had sent its last video."""
        found = []
        for address in self._used():
            times = {
                name: [at for at, event in self.events[address] if event == name]
                for name in ("listening", "requested", "sent")
            }
            found.append((times["listening"][0], times["requested"][0], times["sent"][-1]))
        return found


def make_scenes(
    folder: Path, audio_seconds: Sequence[float], *, image_bytes: int
) -> list[dict[str, str | None]]:
    """Make the files of scenes, and return the scenes as dictionaries of the old client's form.

    Args:
        folder: Folder for the files, which must not exist.
        audio_seconds: Length of the audio of each scene, in seconds.
        image_bytes: Least size of the picture that all scenes share, in bytes.
    """
    folder.mkdir()
    side = max(16, math.ceil((image_bytes / 3) ** 0.5))
    picture, subtitle = folder / "image.bmp", folder / "subtitle.srt"
    Image.effect_noise((side, side), 80).convert("RGB").save(picture)
    subtitle.write_text("1\n00:00:00,000 --> 00:00:01,000\nThe bell rang.\n", "utf-8")
    scenes = list[dict[str, str | None]]()
    for number, seconds in enumerate(audio_seconds):
        audio = folder / f"audio-{seconds:g}.wav"
        if not audio.exists():
            with wave.open(str(audio), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes(bytes(2 * round(8000 * seconds)))
        scenes.append(
            {
                "scene_name": f"scene-{number:04d}",
                "image_path": str(picture),
                "audio_path": str(audio),
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
    record_events: bool,
    command: Sequence[str | Path] = (sys.executable, OUR_CLIENT),
) -> ClientRun:
    """Render scenes with a client process in a new emulated account.

    Args:
        config: Settings of the emulated account.
        scenes: Scenes as dictionaries of the old client's form.
        folder: Folder for the videos and logs, which must not exist.
        workers: Maximum number of tasks that run at once.
        record_events: True if workers must record their events, which makes their start slower.
        command: Program that runs the client, and its first arguments; by default, our client.
    """
    folder.mkdir()
    events, out, log, result = (folder / name for name in ("events", "out", "log", "result"))
    events.mkdir()
    if record_events:
        (worker_folder,) = programs.__path__
        config = replace(
            config,
            worker=(sys.executable, "-I", "-S", str(WORKER), worker_folder),
            worker_environment={**config.worker_environment, "BENCH_EVENTS": f"{events}/{{host}}"},
        )
    job = {"scenes": list(scenes), "to": str(out), "workers": workers, "result": str(result)}
    (folder / "job").write_text(json.dumps(job), "utf-8")
    with FargateEmulator(config) as aws:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= aws.environment | {
            "XDG_STATE_HOME": str(folder / "state"),
            "RESULTS_DIR": str(out),
        }
        with log.open("wb") as file:
            done = subprocess.run(
                [*command, folder / "job"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=CLIENT_TIMEOUT,
                check=False,
            )
        ended = time.time()
        if done.returncode:
            output = log.read_text()[-4000:]
            sys.exit(f"{command[1]} failed with exit code {done.returncode}:\n{output}")
        return ClientRun(
            figures=json.loads(result.read_text("utf-8")),
            ended=ended,
            tasks=aws.tasks,
            max_live=aws.max_live,
            calls=aws.calls,
            events={path.name: _read_events(path) for path in events.iterdir()},
            videos={path.stem: _video_size(path) for path in out.rglob("*.mp4")},
        )


def _read_events(path: Path) -> list[tuple[float, str]]:
    pairs = (line.split() for line in path.read_text("ascii").splitlines())
    return [(float(at), name) for at, name in pairs]


def _video_size(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(8)
    return path.stat().st_size if head[4:] == b"ftyp" else 0
