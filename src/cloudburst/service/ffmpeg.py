"""Finding ffmpeg and a font; pure functions that build argument lists and filter graphs.

Every ffmpeg runs in a job's folder and sees fixed names only, without a shell: nothing of a
caller's is ever part of a command line, so nothing has to be escaped.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cloudburst.errors import ConfigurationError
from cloudburst.service.job import AUDIO

FPS = 30
SAMPLE_RATE = 48_000
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS

STILL = "picture.yuv"
SUBTITLES = "subtitles.ass"
FONTS = "fonts"
PARTIAL = "video.mp4.part"
LOG = "ffmpeg.log"
"""Names that the renderer adds to a job's folder."""

_NEEDED = ("--enable-libx264", "--enable-libass")
_BT709 = "range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"

_X264 = (
    "mbtree=1:rc-lookahead=20:sync-lookahead=0:bframes=5:b-adapt=0:scenecut=0:weightp=0:"
    "direct=temporal:keyint=300"
)
"""`superfast` turns mbtree off; on again it costs nothing and saves a third of the size. Looking
ahead in the encoder's own thread saves 45 MB. The rest drops decisions that one slow movement
without a cut never needs."""

_DEMUXERS = "mp3,wav,w64,mov,ogg,flac,aac,matroska"
"""Containers of sound. A playlist (HLS, concat, SDP) would let an upload name other files and
addresses, so it is not among them."""


class Ffmpeg(NamedTuple):
    """One that has what we need."""

    path: str
    version: str
    """First line of ``ffmpeg -version``."""


class Font(NamedTuple):
    """A font with Chinese and Latin letters."""

    path: Path
    family: str


class Scene(NamedTuple):
    """What the encode of one scene is made of."""

    width: int
    height: int
    frames: int
    moving: bool
    """Frames come through the pipe; else one picture is repeated."""
    subtitled: bool
    mono: bool
    """The sound has one channel."""


class FfmpegError(Exception):
    """Ffmpeg failed on inputs that are good: the service's own fault."""


def find_ffmpeg(environ: Mapping[str, str] = os.environ) -> Ffmpeg:
    """``CLOUDBURST_FFMPEG``, else the one on the path, else the wheel imageio-ffmpeg's.

    One that lacks libx264 or libass is passed over, unless it was asked for by name; then, and
    when there is none at all, `ConfigurationError` is raised.
    """
    if named := environ.get("CLOUDBURST_FFMPEG"):
        if found := _examined(named):
            return found
        msg = f"CLOUDBURST_FFMPEG={named} is no ffmpeg with libx264 and libass"
        raise ConfigurationError(msg)
    for path in _candidates(environ):
        if found := _examined(path):
            return found
    msg = "no ffmpeg with libx264 and libass: install ffmpeg, or cloudburst-sdk[local]"
    raise ConfigurationError(msg)


def _candidates(environ: Mapping[str, str]) -> Iterable[str]:
    if path := shutil.which("ffmpeg", path=environ.get("PATH")):
        yield path
    try:
        wheel = importlib.import_module("imageio_ffmpeg")
        yield str(wheel.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return


def _examined(path: str) -> Ffmpeg | None:
    try:
        text = subprocess.run(
            [path, "-version"], capture_output=True, check=True, timeout=20, text=True
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return Ffmpeg(path, text.partition("\n")[0]) if all(n in text for n in _NEEDED) else None


_SYSTEM_FONTS = (
    ("NotoSansCJK-Regular.ttc", "Noto Sans CJK SC"),
    ("NotoSansCJKsc-Regular.otf", "Noto Sans CJK SC"),
    ("NotoSansSC-Regular.otf", "Noto Sans SC"),
    ("SourceHanSansSC-Regular.otf", "Source Han Sans SC"),
    ("wqy-microhei.ttc", "WenQuanYi Micro Hei"),
    ("wqy-zenhei.ttc", "WenQuanYi Zen Hei"),
    ("Hiragino Sans GB.ttc", "Hiragino Sans GB"),
)
"""File name and family, best first."""

_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
)


def find_font(folders: Sequence[str | Path] = _FONT_FOLDERS) -> Font:
    """A known font of the system, else that of the wheel noto-cjk-sans-otc.

    Raises `ConfigurationError` where there is none: Chinese would show as empty boxes.
    """
    there = {
        file.name: file for folder in folders for file in sorted(Path(folder).rglob("*.[ot]t[cf]"))
    }
    for name, family in _SYSTEM_FONTS:
        if name in there:
            return Font(there[name], family)
    try:
        wheel = importlib.import_module("noto_cjk_sans_otc")
    except ImportError:
        msg = "no font with Chinese: install fonts-noto-cjk, or cloudburst-sdk[local]"
        raise ConfigurationError(msg) from None
    return Font(Path(str(wheel.FONT_PATH)), "Noto Sans CJK SC")


def decode_arguments() -> list[str]:
    """Decode the job's sound to an AU stream on the output: a header, then 16 bit samples."""
    return [*_quiet(), *_sound_input(), "-map", "0:a:0", "-c:a", "pcm_s16be", "-f", "au", "pipe:1"]


def encode_arguments(scene: Scene) -> list[str]:
    """The one encode: frames and sound in, the finished file out, progress on the output."""
    return [
        *_quiet(),
        *("-progress", "pipe:1", "-stats_period", "0.1"),
        *("-f", "rawvideo", "-pixel_format", "yuv420p", "-framerate", str(FPS)),
        *("-video_size", f"{scene.width}x{scene.height}"),
        *("-i", "pipe:0" if scene.moving else STILL),
        *_sound_input(),
        *("-filter_complex", filter_graph(scene), "-map", "[v]", "-map", "[a]"),
        *("-map_metadata", "-1", "-map_chapters", "-1", "-frames:v", str(scene.frames)),
        *picture_arguments(scene),
        *("-c:a", "aac", "-b:a", "128k"),
        *("-movflags", "+faststart", "-f", "mp4", PARTIAL),
    ]


def picture_arguments(scene: Scene) -> list[str]:
    """How the picture is encoded, and its colours tagged: untagged HD video shows wrong ones.

    A moving scene keeps a core busy with drawing; a second thread of the encoder would cost it
    20 MB and 4 % more CPU for a tenth of the time.
    """
    threads = 1 if scene.moving else 2
    return [
        *("-c:v", "libx264", "-preset", "superfast", "-crf", "21", "-threads:v", str(threads)),
        *("-x264-params", _X264, "-pix_fmt", "yuv420p", "-color_range", "tv"),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    ]


def filter_graph(scene: Scene) -> str:
    """Video: repeat a still, tag, draw subtitles. Sound: 48 kHz stereo, as long as the video.

    The tags come first: untagged raw HD frames count as BT.601 from ffmpeg 7 on.
    """
    video = (
        [f"loop=loop={scene.frames - 1}:size=1"] if not scene.moving and scene.frames > 1 else []
    )
    video.append(f"setparams={_BT709}")
    if scene.subtitled:
        video.append(f"subtitles=filename={SUBTITLES}:fontsdir={FONTS}:wrap_unicode=1")
    samples = scene.frames * SAMPLES_PER_FRAME
    # Left to itself ffmpeg makes stereo of mono 3 dB quieter.
    sound = ["pan=stereo|c0=c0|c1=c0"] if scene.mono else []
    sound += (
        f"aformat=sample_rates={SAMPLE_RATE}:channel_layouts=stereo",
        f"apad=whole_len={samples}",
        f"atrim=end_sample={samples}",
    )
    return f"[0:v]{','.join(video)}[v];[1:a:0]{','.join(sound)}[a]"


def _quiet() -> tuple[str, ...]:
    return ("-hide_banner", "-nostats", "-v", "error", "-y")


def _sound_input() -> tuple[str, ...]:
    return (
        "-protocol_whitelist",
        "file,pipe",
        "-format_whitelist",
        _DEMUXERS,
        "-i",
        f"file:{AUDIO}",
    )


@contextmanager
def running(
    ffmpeg: Ffmpeg, arguments: Sequence[str], folder: Path, *, seconds: float, fed: bool = False
) -> Generator[subprocess.Popen[bytes]]:
    """An ffmpeg in the job's folder; killed on the way out if it still runs.

    ``fed`` opens its input. It is killed after ``seconds`` too, which shows as a failed exit.
    """
    with (
        (folder / LOG).open("wb") as log,
        subprocess.Popen(
            [ffmpeg.path, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"MALLOC_ARENA_MAX": "1"},  # 15 MB less from glibc, no slower
        ) as process,
    ):
        deadline = threading.Timer(seconds, process.kill)
        deadline.daemon = True
        deadline.start()
        try:
            yield process
        finally:
            deadline.cancel()
            process.kill()


def last_words(folder: Path, lines: int = 8) -> str:
    """The end of what the last ffmpeg of this folder complained about."""
    text = (folder / LOG).read_text("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])
