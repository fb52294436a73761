"""What starting costs: CPU seconds of the processes that are started for each scene and check.

    python benchmarks/startup.py [--against SRC] [--rounds 5]

It prints, as the least of some rounds,

- import: a Python that imports cloudburst and ends;
- health: the health check of a container, beside a service that runs;
- child: a Python that imports what a still picture needs and ends;
- still: a whole render child of the shortest still, with the ffmpeg that it starts;
- scene: one of four scenes of one second, rendered on this machine: the service and all that it
  starts, without the client, by four.

CPU is user plus system of a process and all that it waited for. ``--against`` measures another
version of the package in turn with this one: the ``src`` folder of a checkout. The machine may have
other work meanwhile, so compare ratios of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

GOALS = {"health": 0.12, "child": 0.2}
"""CPU seconds, at most."""
SCENE_GOAL = 0.85
"""CPU seconds of a scene over those of the other version, at most."""
SCENES = 4
SECONDS = 1.0
OPTIONS: dict[str, object] = {
    "language": "chinese",
    "effects": [],
    "is_portrait": None,
    "background_box": True,
    "background_opacity": 0.2,
    "font_size": None,
    "outline_color": "&H00000000",
}
RENDER = """
import asyncio, resource, sys
from pathlib import Path
from cloudburst import Client, Scene, local

async def main():
    inputs, output = map(Path, sys.argv[1:])
    scenes = [
        Scene(name=path.stem, image=path, audio=inputs / "sound.wav")
        for path in sorted(inputs.glob("*.png"))
    ]
    async with Client(local(workers=1)) as client:
        report = await client.render_all(scenes, to=output)
    report.raise_for_failures()

asyncio.run(main())
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
"""

Variables = Mapping[str, str]


def make_sound(path: Path, seconds: float) -> None:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 44_100, 0, "NONE", ""))
        out.writeframes(os.urandom(2 * round(44_100 * seconds)))


def cpu(arguments: list[str], env: Variables) -> tuple[float, int]:
    """CPU seconds and exit code of a Python; its input stays open, for a child ends with it."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    with process.stdin:
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, process.returncode


def measured(arguments: list[str], env: Variables) -> float:
    seconds, code = cpu(arguments, env)
    if code != 0:
        sys.exit(f"{' '.join(arguments)[:200]}: exit {code}")
    return seconds


@contextmanager
def service(env: Variables) -> Iterator[dict[str, str]]:
    """Start a healthy service; yield the variables with which its health check finds it."""
    given = {**env, "CLOUDBURST_HOST": "127.0.0.1", "CLOUDBURST_PORT": "0"}
    command = [sys.executable, "-m", "cloudburst.service"]
    with subprocess.Popen(
        command, env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip().rpartition(":")[2]
        found = {**env, "CLOUDBURST_PORT": port}
        try:
            while cpu(["-m", "cloudburst.service.health"], found)[1] != 0:
                time.sleep(0.1)
            yield found
        finally:
            process.terminate()


def health(env: Variables) -> float:
    with service(env) as found:
        return min(measured(["-m", "cloudburst.service.health"], found) for _ in range(3))


def still(env: Variables) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        Image.new("RGB", (64, 36), (90, 90, 90)).save(folder / "image", "PNG")
        make_sound(folder / "audio", 1 / 30)
        (folder / "job.json").write_text(json.dumps({"name": "s", "options": OPTIONS}))
        return measured(["-m", "cloudburst.renderer.render_process", temporary], env)


def scene(env: Variables) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary, "inputs")
        inputs.mkdir()
        make_sound(inputs / "sound.wav", SECONDS)
        for number in range(SCENES):
            Image.effect_noise((640, 360), 40 + number).save(inputs / f"{number}.png")
        script = [sys.executable, "-c", RENDER, str(inputs), f"{temporary}/out"]
        own = {**env, "XDG_STATE_HOME": temporary}  # the user's own measurements stay as they are
        done = subprocess.run(script, env=own, check=True, stdout=subprocess.PIPE, text=True)
        return float(done.stdout) / SCENES


ROWS = {
    "import": lambda env: measured(["-c", "import cloudburst"], env),
    "health": health,
    "child": lambda env: measured(["-c", "import cloudburst.renderer.render_process"], env),
    "still": still,
    "scene": scene,
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    versions: dict[str, Variables] = {"this": dict(os.environ)}
    if arguments.against:
        versions["other"] = {**os.environ, "PYTHONPATH": str(arguments.against.resolve())}
    missed = False
    print(f"CPU seconds, least of {arguments.rounds} rounds")
    for name, measure in ROWS.items():
        taken = {version: list[float]() for version in versions}
        for _ in range(arguments.rounds):
            for version, env in versions.items():
                taken[version].append(measure(env))
        least = {version: min(seconds) for version, seconds in taken.items()}
        line = f"{name:8}" + "".join(f"{seconds:8.3f} {v}" for v, seconds in least.items())
        goal, found = GOALS.get(name), least["this"]
        if "other" in least:
            line += f"   {found / least['other']:.2f} of the other"
            if name == "scene":
                goal, found = SCENE_GOAL, found / least["other"]
        if goal is not None:
            line += f"   goal {goal}: {'met' if found <= goal else 'MISSED'}"
            missed |= found > goal
        print(line, flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
