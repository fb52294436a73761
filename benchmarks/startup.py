"""CPU seconds of the processes that are started for each scene and each health check.

    python benchmarks/startup.py [--against SRC] [--rounds 5]

The lowest value of several rounds is printed for each of these:

- import: a Python process that only imports cloudburst;
- health: the health check of a container, while a service is running;
- child: a Python process that only imports what a render of a still picture needs;
- still: a render process of the shortest still picture;
- scene: one of four scenes of one second, rendered on this machine: the service and its render
  processes, without the client, divided by four.

CPU is user plus system of a process and all child processes that it has waited for. ``--against``
takes the ``src`` folder of another checkout and measures both versions in turn. Seconds depend on
the other load of the machine, so compare ratios of one run.
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
from renders.renderers import default_job

GOALS = {"health": 0.12, "child": 0.2}
"""CPU seconds, at most."""
SCENE_GOAL = 0.85
"""CPU seconds of a scene over those of the other version, at most."""
SCENES = 4
AUDIO_SECONDS = 1.0
RENDER = """
import asyncio, resource, sys
from pathlib import Path
from cloudburst import Client, Scene, local

async def main():
    inputs, output = map(Path, sys.argv[1:])
    scenes = [
        Scene(name=path.stem, image=path, audio=inputs / "audio.wav")
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
"""Environment variables."""


def make_audio(path: Path, seconds: float) -> None:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 44_100, 0, "NONE", ""))
        out.writeframes(os.urandom(2 * round(44_100 * seconds)))


def cpu(arguments: list[str], env: Variables) -> tuple[float, int]:
    """Return the CPU seconds and the exit code of a Python process.

    Its standard input stays open, because a render process exits when it is closed.
    """
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
    """Return the CPU seconds of a Python process; exit if it fails."""
    seconds, code = cpu(arguments, env)
    if code != 0:
        sys.exit(f"{' '.join(arguments)[:200]}: exit code {code}")
    return seconds


@contextmanager
def service(env: Variables) -> Iterator[dict[str, str]]:
    """Run a service, and yield the environment variables for its health check."""
    service_env = {**env, "CLOUDBURST_HOST": "127.0.0.1", "CLOUDBURST_PORT": "0"}
    command = [sys.executable, "-m", "cloudburst.service"]
    with subprocess.Popen(
        command, env=service_env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip().rpartition(":")[2]
        check_env = {**env, "CLOUDBURST_PORT": port}
        try:
            while cpu(["-m", "cloudburst.service.health"], check_env)[1] != 0:
                time.sleep(0.1)
            yield check_env
        finally:
            process.terminate()


def health(env: Variables) -> float:
    with service(env) as check_env:
        return min(measured(["-m", "cloudburst.service.health"], check_env) for _ in range(3))


def still(env: Variables) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        Image.new("RGB", (64, 36), (90, 90, 90)).save(folder / "image", "PNG")
        make_audio(folder / "audio", 1 / 30)
        job = default_job(Path(sys.executable), env)
        job = {**job, "options": {**job["options"], "effects": []}}
        (folder / "job.json").write_text(json.dumps(job))
        return measured(["-m", "cloudburst.renderer.render_process", temporary], env)


def scene(env: Variables) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary, "inputs")
        inputs.mkdir()
        make_audio(inputs / "audio.wav", AUDIO_SECONDS)
        for number in range(SCENES):
            Image.effect_noise((640, 360), 40 + number).save(inputs / f"{number}.png")
        script = [sys.executable, "-c", RENDER, str(inputs), f"{temporary}/out"]
        # Keeps the measurements of the user unchanged.
        script_env = {**env, "XDG_STATE_HOME": temporary}
        done = subprocess.run(script, env=script_env, check=True, stdout=subprocess.PIPE, text=True)
        return float(done.stdout) / SCENES


ROWS = {
    "import": lambda env: measured(["-c", "import cloudburst"], env),
    "health": health,
    "child": lambda env: measured(["-c", "import cloudburst.renderer.render_process"], env),
    "still": still,
    "scene": scene,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU seconds of processes that start often.")
    parser.add_argument("--against", type=Path, metavar="SRC", help="src folder of a checkout")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    versions: dict[str, Variables] = {"this": dict(os.environ)}
    if arguments.against:
        versions["other"] = {**os.environ, "PYTHONPATH": str(arguments.against.resolve())}
    missed = False
    print(f"CPU seconds, lowest of {arguments.rounds} rounds")
    for name, measure in ROWS.items():
        rounds = {version: list[float]() for version in versions}
        for _ in range(arguments.rounds):
            for version, env in versions.items():
                rounds[version].append(measure(env))
        lowest = {version: min(seconds) for version, seconds in rounds.items()}
        line = f"{name:8}" + "".join(f"{seconds:8.3f} {v}" for v, seconds in lowest.items())
        goal, found = GOALS.get(name), lowest["this"]
        if "other" in lowest:
            line += f"   {found / lowest['other']:.2f} of the other"
            if name == "scene":
                goal, found = SCENE_GOAL, found / lowest["other"]
        if goal is not None:
            line += f"   goal {goal}: {'met' if found <= goal else 'MISSED'}"
            missed |= found > goal
        print(line, flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
