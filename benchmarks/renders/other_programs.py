"""Other programs that make the same video: ffmpeg's zoompan filter, and MoviePy."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import noto_cjk_sans_otc

from renders.environments import FFMPEG_PATHS, ISOLATED, environment
from renders.frames import BT601, IdealSettings
from renders.inputs import FPS, HEIGHT, WIDTH, Inputs, Scenario, cues
from renders.processes import Cost, measured

MOVIEPY = "moviepy==2.2.1"
"""Version of MoviePy. It needs Pillow 11, so it has its own environment."""

MOVIEPY_PROGRAM = """
import json, sys
from moviepy import AudioFileClip, CompositeVideoClip, ImageClip, TextClip
scene = json.loads(sys.argv[1])
seconds, fps, size = scene["seconds"], scene["fps"], scene["size"]
def zoom(t):
    return 1 + 0.1 * t / (seconds - 1 / fps)
picture = ImageClip(scene["picture"]).with_duration(seconds).resized(zoom)
layers = [picture.with_position("center")]
for begin, end, text in scene["cues"]:
    layer = TextClip(font=scene["font"], text=text, font_size=48, color="white", margin=(0, 12))
    layers.append(layer.with_start(begin).with_end(end).with_position(("center", 960)))
audio = AudioFileClip(scene["audio"]).subclipped(0, seconds)
video = CompositeVideoClip(layers, size=size).with_duration(seconds).with_audio(audio)
video.write_videofile(scene["video"], fps=fps, codec="libx264", audio_codec="aac", logger=None)
"""


@dataclass(frozen=True)
class Zoompan:
    """Ffmpeg with its filter zoompan as in tutorials, and the default settings of libx264.

    The filter moves in whole pixels of its input. ``scale`` is the width to which the picture is
    enlarged first, which makes these steps smaller.
    """

    scale: int | None = None
    ideal_settings: IdealSettings = BT601

    @property
    def name(self) -> str:
        return f"zoompan, scale={self.scale}:-1" if self.scale else "zoompan"

    def run(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Cost:
        folder.mkdir()
        shutil.copy(inputs.subtitle, folder / "subtitle.srt")
        last = inputs.frames - 1
        filters = [f"scale={self.scale}:-1"] if self.scale else []
        filters.append(
            f"zoompan=z='1+0.1*on/{last}':x='iw/2-(iw/zoom/2)':y='ih/2-(ih/zoom/2)'"
            f":d={inputs.frames}:s={WIDTH}x{HEIGHT}:fps={FPS}"
        )
        if scenario.subtitled:
            filters.append("subtitles=subtitle.srt")
        command: list[str | Path] = [
            *(FFMPEG_PATHS.ffmpeg, "-v", "error", "-y", "-i", inputs.picture, "-i", inputs.audio),
            *("-vf", ",".join(filters), "-t", str(inputs.seconds)),
            *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "video.mp4"),
        ]
        return measured(command, folder, folder / "video.mp4")


@dataclass(frozen=True)
class MoviePy:
    """MoviePy 2, with a picture that is resized for each frame and a clip for each subtitle."""

    python: Path
    name: str = "MoviePy 2"
    ideal_settings: IdealSettings = BT601

    def run(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Cost:
        folder.mkdir()
        scene = {
            "picture": str(inputs.picture),
            "audio": str(inputs.audio),
            "video": str(folder / "video.mp4"),
            "cues": [list(cue) for cue in cues(inputs.seconds)] if scenario.subtitled else [],
            "seconds": inputs.seconds,
            "fps": FPS,
            "size": (WIDTH, HEIGHT),
            "font": str(noto_cjk_sans_otc.FONT_PATH),
        }
        command: list[str | Path] = [self.python, "-c", MOVIEPY_PROGRAM, json.dumps(scene)]
        environ = {**ISOLATED, "IMAGEIO_FFMPEG_EXE": FFMPEG_PATHS.ffmpeg}
        return measured(command, folder, folder / "video.mp4", environ)


def moviepy() -> MoviePy:
    return MoviePy(environment("moviepy", [MOVIEPY]))
