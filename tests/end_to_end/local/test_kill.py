"""Killed at any moment, in any way: nothing runs on, and no video is half there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.marked_processes import Watch
from support.output_files import files_of_command
from support.sample_media import quadrants, tone
from support.video_probe import probe

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(120)]

SEEDS = range(30)
SECONDS = {"long": 2.0, "middle": 1.0, "short": 0.5}
"""Scenes and their sounds: on two workers some are done while others are not begun."""
SIZE = (640, 360)
"""Size of the videos: full HD takes three times the CPU time."""
SPAN = 3.0
"""Seconds that a run of them takes, roughly; a run that is through sooner is a case too."""
ENDED = 8.0
"""Seconds from a signal to the end of the process: the service is given two, and killed at five."""
AFTER = 4.0
"""Seconds from there to the end of everything that it started."""
LOST = b"Exception ignored in"
"""What Python says of a SIGINT that it has lost, because it came while an extension in C made a
class during an import. The program then goes on."""

SCRIPT = """
import json, sys, anyio
from cloudburst import Client, RenderOptions, local

async def main():
    scenes = json.load(open(sys.argv[1]))
    options = RenderOptions(size="640x360")
    async with Client(local(workers=2, encoders=1), options=options) as client:
        async with client.stream(scenes, to=sys.argv[2]) as run:
            async for event in run:
                print(event.model_dump_json(), flush=True)

anyio.run(main)
"""
SCRIPT_COMMAND = [sys.executable, "-c", SCRIPT]
CLI_COMMAND = [sys.executable, "-m", "cloudburst", "render", "--json", "--backend", "local"]
ENDS = {
    "SIGKILL": [signal.SIGKILL],
    "SIGINT": [signal.SIGINT],
    "SIGTERM": [signal.SIGTERM],
    "twice": [signal.SIGINT, signal.SIGINT],
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A file with scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    quadrants(640, 360).save(folder / "picture", "PNG")
    for name, seconds in SECONDS.items():
        tone(folder / name, "-f", "wav", seconds=seconds)
    picture = str(folder / "picture")
    told = [{"name": n, "image": picture, "audio": str(folder / n)} for n in SECONDS]
    (folder / "scenes.json").write_text(json.dumps(told))
    return folder / "scenes.json"


def command(program: str, scenes: Path, out: Path) -> list[str]:
    if program == "script":
        return [*SCRIPT_COMMAND, str(scenes), str(out)]
    return [*CLI_COMMAND, "--workers", "2", "--size", "640x360", "--to", str(out), str(scenes)]


def start(line: list[str]) -> subprocess.Popen[str]:
    # Its own group, as a shell with job control would do; signals go to it alone.
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


def end(process: subprocess.Popen[str], signals: list[int], rng: random.Random) -> None:
    for number, signum in enumerate(signals):
        if number:
            time.sleep(rng.choice([0, 0.001, 0.02, 0.2]))
        process.send_signal(signum)


def ended(process: subprocess.Popen[str], watch: Watch) -> tuple[str, str, bool]:
    """Output, errors and whether it had to be killed, alone and with all else gone.

    Python raises the second SIGINT within a millisecond of the first wherever it happens to be,
    also inside asyncio, whose loop may wait for ever then: that is not ours to mend.
    """
    try:
        try:
            return *process.communicate(timeout=ENDED), False
        except subprocess.TimeoutExpired as exc:
            if LOST not in (exc.stderr or b""):
                raise
            process.send_signal(signal.SIGINT)  # as a person would
            return *process.communicate(timeout=ENDED), False
    except subprocess.TimeoutExpired:
        left = watch.processes().keys() - {process.pid}
        process.kill()
        output, errors = process.communicate(timeout=ENDED)
        assert not left, errors
        return output, errors, True


def completed(output: str) -> set[str]:
    """Scenes whose videos the killed process had told of; its last line may be cut."""
    events = [json.loads(line) for line in output.splitlines() if line.endswith("}")]
    return {event["scene"] for event in events if event["type"] == "scene.completed"}


def check_videos(out: Path) -> set[str]:
    """Each video under its final name is whole; returns their scenes."""
    there = {path.stem for path in out.glob("*.mp4")}
    for name in there:
        probe(out / f"{name}.mp4").check(size=SIZE, seconds=SECONDS[name])
    return there


def code_of(program: str, ending: str) -> int:
    """What a process that is killed so exits with, once it takes signals."""
    signum = ENDS[ending][0]
    # Where Python or the system ends it, a shell says 128 + signum all the same.
    return -signum if ending == "SIGKILL" or program == "script" else 128 + signum


@pytest.mark.few(1)
@pytest.mark.parametrize("ending", ENDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_killed(ending, seed, scenes, watch, tmp_path):
    program = ("script", "cli")[(seed + len(ending)) % 2]
    rng = random.Random(f"{program} {ending} {seed}")
    out = tmp_path / "out"
    moment = rng.uniform(0, SPAN)
    with start(command(program, scenes, out)) as process:
        try:
            output, errors = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            end(process, ENDS[ending], rng)
            output, errors, stuck = ended(process, watch)
        else:
            stuck = False
    case = f"{program}, {ending} after {moment:.2f} s: {process.returncode}\n{errors}"
    left = watch.left_after(AFTER)
    assert not left, case
    assert not stuck or (program, ending) == ("script", "twice"), case

    # Before the first event Python may not have got to the place where signals are taken, and
    # after the last one it may have been done, or have left that place.
    early = not output
    through = completed(output) == set(SECONDS)
    codes = {code_of(program, ending)}
    signum = ENDS[ending][0]
    codes |= {-signum, 1, 130} if early else {-signum, 0} if through else set()
    if ending == "twice":  # the second may come when all is done and Python is about to end
        codes |= {-signal.SIGINT, -signal.SIGKILL if stuck else 1}
    assert process.returncode in codes, case
    assert completed(output) <= check_videos(out), case
    gently = ending == "SIGINT" or (ending == "SIGTERM" and program == "cli")
    if gently and not early:
        assert not list(out.glob("*.part")), case
        assert {path.suffix for path in out.glob(".cloudburst/*")} <= {".sqlite"}, case
        assert not list(watch.temp.iterdir()), case

    again = [*command("cli", scenes, out), "--overwrite", "--no-zoom"]
    done = subprocess.run(again, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert check_videos(out) == set(SECONDS)
    assert {path.name for path in out.iterdir()} == files_of_command(SECONDS), case
    assert not list(watch.temp.iterdir()), case
