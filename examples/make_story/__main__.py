"""Draw, speak and caption the picture-book story in ``examples/story``.

Two of its scenes, in small files, are the demo of the package.

No input files are needed: the pictures are layers of "cut paper", drawn with Pillow and numpy at
twice their size, the voices are from espeak-ng, and the time of each subtitle is the measured
length of its phrase.

Debian packages: ``espeak-ng sox fonts-quicksand``.  Python packages: ``av pillow numpy``.

    python examples/make_story            # all of it, into examples/story
    python examples/make_story 03-storm   # one scene only
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pages import beacon, cloud_comes, harbour, morning, starlight, storm, watermark
from paper import Picture
from PIL import Image
from sound import encode

OUT = Path(__file__).resolve().parents[1] / "story"
DEMO = OUT.parents[1] / "src" / "cloudburst" / "story"
DEMO_SCENES = {"01-harbour": "1-harbour", "03-storm": "2-storm"}  # names of the demo
DEMO_SIZE = (1600, 900)


@dataclass(frozen=True)
class Scene:
    """Page of the story. A line is a spoken phrase and, after a ``|``, its translation to show."""

    name: str
    draw: Callable[[], Picture]
    picture: str  # file type
    sound: str  # file type
    voice: str  # espeak-ng voice
    lines: tuple[str, ...]


HARBOUR = ("At the edge of a quiet harbour,", "a little lighthouse counted the boats home.")
CLOUD = ("One night, a sleepy cloud drifted in,", "and sat down right in front of the light.")
STORM = ("夜里起了大风，", "小船迷了路。")
BEACON = ("灯塔说：", "云啊，请你让一让，", "让我的光照出去。")
STARS = (
    "云笑了，慢慢散开。|The cloud smiled, and drew apart.",
    "满天的星星都亮了。|All the stars came out to shine.",
)
MORNING = ("In the morning, every boat was home,", "and the cloud turned pink with joy.")
SCENES = (
    Scene("01-harbour", harbour, "jpg", "mp3", "en-gb", HARBOUR),
    Scene("02-cloud", cloud_comes, "png", "mp3", "en-gb", CLOUD),
    Scene("03-storm", storm, "webp", "mp3", "cmn", STORM),
    Scene("04-beacon", beacon, "jpg", "mp3", "cmn", BEACON),
    Scene("05-starlight", starlight, "webp", "m4a", "cmn", STARS),
    Scene("06-morning", morning, "jpg", "mp3", "en-gb", MORNING),
)
CONTAINED = {"is_portrait": False, "fit": "contain"}  # all scenes of a film have one shape
LEAD, PAUSE, TAIL = 0.35, 0.3, 0.6  # seconds of quiet before, between and after the phrases
SPEED = {"en-gb": "128", "cmn": "130"}  # words per minute: a little slower than ordinary speech
TRIM = "silence 1 0.01 0.6% reverse silence 1 0.01 0.6% reverse"
# A softer sound: no rumble, no hiss, even loudness, a small room, no clicks at the ends. sox runs
# with -D (no random dither), so that every run makes the same files.
WARM = "highpass 90 lowpass 6500 compand 0.01,0.15 6:-60,-60,-36,-20,-18,-12,0,-7 0 -60 0.05"
ROOM = "reverb 18 50 45 0 8 -2 fade t 0.05 -0 0.35"


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def speak(scene: Scene, sound: Path) -> list[tuple[float, float]]:
    """Record the lines of a scene; return the begin and the end of each, in seconds."""
    times = []
    clock = LEAD
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        takes: list[Path] = []
        for i, line in enumerate(scene.lines):
            raw, trimmed, take = (work / f"{step}{i}.wav" for step in ("raw", "trim", "take"))
            say = ("espeak-ng", "-v", scene.voice, "-s", SPEED[scene.voice], "-p", "42", "-w", raw)
            run(*say, line.partition("|")[0])
            run("sox", "-D", raw, "-r", "44100", trimmed, *TRIM.split())
            last = i == len(scene.lines) - 1
            pad = ("pad", str(0 if i else LEAD), str(TAIL if last else PAUSE))
            run("sox", "-D", trimmed, take, *pad)
            length = float(run("soxi", "-D", trimmed))
            times.append((clock, clock + length))
            clock += length + PAUSE
            takes.append(take)
        run("sox", "-D", *takes, work / "voice.wav", *WARM.split(), *ROOM.split())
        encode(work / "voice.wav", sound)
    return times


def stamp(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def caption(scene: Scene, times: Sequence[tuple[float, float]]) -> str:
    """Return the lines as SubRip text. A cue ends after its phrase and before the next cue."""
    cues = []
    for i, (line, (start, end)) in enumerate(zip(scene.lines, times, strict=True)):
        span = f"{stamp(start)} --> {stamp(end + PAUSE / 2)}"
        cues.append(f"{i + 1}\n{span}\n{line.replace('|', chr(10))}\n")
    return "\n".join(cues)


def save(picture: Image.Image, path: Path) -> None:
    if path.suffix == ".png":  # 256 well-chosen colours keep a lossless picture small
        few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
        picture.quantize(palette=few).save(path, optimize=True)
    else:
        picture.save(path, quality=85, method=6, optimize=True, progressive=True)


def main(wanted: Sequence[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    story, demo = [], []
    for scene in SCENES:
        image, audio = f"{scene.name}.{scene.picture}", f"{scene.name}.{scene.sound}"
        subtitle = f"{scene.name}.srt"
        entry = {"name": scene.name, "image": image, "audio": audio, "subtitle": subtitle}
        upright = scene.draw is beacon
        story.append(entry | ({"options": CONTAINED} if upright else {}))
        if wanted and scene.name not in wanted:
            continue
        picture = scene.draw()
        save(picture.finish(grain=0 if scene.picture == "png" else 1.2), OUT / image)
        times = speak(scene, OUT / audio)
        (OUT / subtitle).write_text(caption(scene, times), encoding="utf-8")
        print(image, audio, subtitle)
        if name := DEMO_SCENES.get(scene.name):
            small = picture.finish(grain=0).resize(DEMO_SIZE, Image.Resampling.LANCZOS)
            small.save(DEMO / f"{name}.webp", quality=45, method=6)
            speak(scene, DEMO / f"{name}.ogg")
            shutil.copy(OUT / subtitle, DEMO / f"{name}.srt")
            files = {"image": "webp", "audio": "ogg", "subtitle": "srt"}
            demo.append({"name": name} | {role: f"{name}.{end}" for role, end in files.items()})
    watermark().save(OUT / "watermark.png", optimize=True)
    (OUT / "story.json").write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")
    if len(demo) == len(DEMO_SCENES):
        (DEMO / "story.json").write_text(json.dumps(demo, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
