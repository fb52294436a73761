"""Time and CPU until the first task of a run with large inputs is requested, and of hashing them.

    python benchmarks/inputs.py [--scenes 1000] [--megabytes 5] [--rounds 3] [--folder FOLDER]

Each scene has a picture and a WAV file of half of its size each; half of the pictures are JPEG, the
others PNG. They are real and were just written, so they are in memory. Each figure is the lowest
one of several rounds. The account is emulated, and its tasks do not become ready, so that nothing
is uploaded.

- preflight: the check of a program that is running already, and the hashes of all contents, which
  a run computes just before it sends the files;
- command: from the start of ``cloudburst render`` to its first RunTask;
- program: from the call of ``render_all`` to the first RunTask, in a process whose client is open,
  and the number of files that were hashed meanwhile;
- resume: the same for a call with ``resume``.

Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path

from cloud.account import ClientRun, run_client
from PIL import Image

from cloudburst.testing import EmulatorConfig

CLIENT = Path(__file__).parent / "cloud" / "run_inputs_client.py"
ACCOUNT = EmulatorConfig(provisioning=300.0, deprovisioning=0.1, moto=False)
CPU_GOAL = 6.0
"""CPU seconds of the check and the hashes of 5 GB, at most."""
COMMAND_GOAL, PROGRAM_GOAL = 2.5, 0.6
"""Seconds to the first RunTask, at most."""
GOAL_BYTES = 5_000_000_000
"""Bytes of all files to which the goal for CPU seconds applies."""


def make_files(folder: Path, count: int, size: int) -> list[dict[str, str | None]]:
    """Make the files of scenes, and return the scenes as dictionaries of the old client's form."""
    size //= 2
    side = int(size**0.5)
    noise = Image.frombytes("L", (side, side), random.Random(1).randbytes(side * side))
    noise.save(folder / "model.png", compress_level=1)
    for quality in range(95, 20, -5):
        wide = noise.resize((2 * side, side))
        wide.save(folder / "model.jpg", quality=quality)
        if (folder / "model.jpg").stat().st_size <= size:
            break
    with wave.open(str(folder / "model.wav"), "wb") as sound:
        sound.setparams((2, 2, 48_000, 0, "NONE", ""))
        sound.writeframes(random.Random(2).randbytes(size))
    scenes = list[dict[str, str | None]]()
    for number in range(count):
        picture = folder / f"{number:05}.{'jpg' if number % 2 else 'png'}"
        audio = folder / f"{number:05}.wav"
        for path in (picture, audio):
            path.write_bytes((folder / f"model{path.suffix}").read_bytes())
        scenes.append(
            {
                "scene_name": f"scene-{number:05}",
                "image_path": str(picture),
                "audio_path": str(audio),
                "subtitle_path": None,
            }
        )
    for model in folder.glob("model.*"):
        model.unlink()
    return scenes


def measure(
    kind: str, scenes: Sequence[dict[str, str | None]], folder: Path
) -> tuple[ClientRun, float | None]:
    """Run the client; return its run and the seconds until the first RunTask, ``None`` for none."""
    run = run_client(
        ACCOUNT,
        scenes,
        folder,
        workers=4,
        record_events=False,
        command=(sys.executable, CLIENT, kind),
    )
    began = run.figures["began"]
    waits = [call.at - began for call in run.calls if call.operation == "RunTask"]
    return run, min((wait for wait in waits if wait > 0), default=None)


def print_goal(text: str, *, met: bool) -> bool:
    """Print a goal and whether it is met, and return the latter."""
    print(f"  {'met   ' if met else 'MISSED'} {text}", flush=True)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks of large inputs.")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="folder with space for the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-", dir=arguments.folder) as name:
        return measure_all(Path(name), arguments)


def measure_all(folder: Path, arguments: argparse.Namespace) -> int:
    inputs = folder / "inputs"
    inputs.mkdir()
    began = time.monotonic()
    scenes = make_files(inputs, arguments.scenes, round(arguments.megabytes * 1e6))
    total = sum(path.stat().st_size for path in inputs.iterdir())
    number = len(list(inputs.iterdir()))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{number} files, {total / 1e9:.2f} GB, made in {time.monotonic() - began:.0f} s")
    (folder / "scenes.json").write_text(json.dumps(scenes), "utf-8")
    figures = dict[str, list[float]]()
    hashed, left = 0, 0
    for _ in range(arguments.rounds):
        for kind in ("preflight", "command", "program", "resume"):
            at = folder / kind
            run, seconds = measure(kind, scenes, at)
            if seconds is not None:
                figures.setdefault(kind, []).append(seconds)
            for name in ("cpu", "wall", "hash_cpu"):
                if name in run.figures:
                    figures.setdefault(f"{kind} {name}", []).append(run.figures[name])
            left += run.left_running
            hashed += run.figures.get("hashed", 0)
            shutil.rmtree(at)
    lowest = {name: min(values) for name, values in figures.items()}
    for name, value in sorted(lowest.items()):
        print(f"  {name}: {value:.2f} s ({', '.join(f'{each:.2f}' for each in figures[name])})")
    cpu_goal = CPU_GOAL * max(total, 1) / GOAL_BYTES if total > GOAL_BYTES else CPU_GOAL
    cpu = lowest["preflight cpu"] + lowest["preflight hash_cpu"]
    met = [
        print_goal(
            f"check and hashes: at most {cpu_goal:.1f} s of CPU: {cpu:.2f} s", met=cpu <= cpu_goal
        ),
        print_goal(
            f"command: first RunTask within {COMMAND_GOAL} s: {lowest['command']:.2f} s",
            met=lowest["command"] <= COMMAND_GOAL,
        ),
        print_goal(
            f"program: first RunTask within {PROGRAM_GOAL} s: {lowest['program']:.2f} s",
            met=lowest["program"] <= PROGRAM_GOAL,
        ),
        print_goal(f"no file is hashed before the first RunTask: {hashed}", met=not hashed),
        print_goal(f"no task is left running: {left}", met=not left),
    ]
    print("\ngoals: all met" if all(met) else f"\ngoals: {met.count(False)} MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
