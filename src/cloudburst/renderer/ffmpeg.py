"""Functions that find ffmpeg and a font, build ffmpeg's arguments and filter graph, and run it.

ffmpeg runs in a job's folder without a shell and uses fixed file names only. No text from a caller
is part of a command line, so nothing has to be escaped.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cloudburst.errors import ConfigurationError
from cloudburst.renderer import process_limits
from cloudburst.renderer.job import AUDIO, InputFault

FPS = 30
"""Frames per second of a video."""
SAMPLE_RATE = 48_000
"""Samples per second of a video's audio."""
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS

STILL_FILE = "picture.yuv"
"""Name of the scaled picture that the renderer adds to a job's folder if the video has no camera
motion."""
ASS_FILE = "subtitles.ass"
"""Name of the subtitles in the format of libass, which the renderer adds to a job's folder."""
FONTS_FOLDER = "fonts"
"""Name of the folder with the font of the subtitles, which the renderer adds to a job's folder."""
PARTIAL_VIDEO_FILE = "video.mp4.part"
"""Name of the incomplete video in a job's folder."""

MAX_ERROR_BYTES = 8192
"""Number of bytes that are kept from the end of ffmpeg's error output. A broken file can cause an
error message for each of millions of packets."""
_CPU_LIMIT_EXITS = (-signal.SIGXCPU, 255, 123)
"""Exit codes of ffmpeg after SIGXCPU, which the kernel sends at the CPU time limit. ffmpeg handles
the signal: it exits with 255, or with 123 at the fourth signal."""
_OUT_OF_MEMORY = (b"Cannot allocate memory", b"pthread_create() failed")
"""Error messages of ffmpeg at the memory limit, if memory or the stack of a thread cannot be
allocated."""

_REQUIRED_BUILD_OPTIONS = ("--enable-libx264", "--enable-libass")
_BT709_TAGS = "range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"

_X264_PARAMS = (
    "mbtree=1:rc-lookahead=20:sync-lookahead=0:bframes=5:b-adapt=0:scenecut=0:weightp=0:"
    "direct=temporal:keyint=300"
)
"""Options of libx264. The preset `superfast` turns ``mbtree`` off; here it is on, because it costs
no time and saves a third of the size. Without a lookahead thread, an encode needs 45 MB less
memory. The other options skip decisions that a slow movement without cuts does not need."""

_SAMPLES = ("s16", "s24", "s32", "f32", "f64")
_DECODERS = ",".join(
    (
        *("mp3float", "mp3", "mp2float", "mp2", "aac", "aac_latm", "flac", "alac"),
        *("vorbis", "libvorbis", "opus", "libopus", "adpcm_ima_wav", "adpcm_ms"),
        *("pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"),
        *(f"pcm_{kind}{end}" for kind in _SAMPLES for end in ("le", "be")),
    )
)
"""Audio decoders that ffmpeg may use. A media file may contain any stream; ffmpeg has hundreds of
other decoders, and each is code that would process a caller's bytes."""

_DEMUXERS = "mp3,wav,w64,mov,ogg,flac,aac,matroska"
"""Audio file formats that ffmpeg may read. Playlists (HLS, concat, SDP) are not among them, because
an upload could name other files and addresses in a playlist."""


class Ffmpeg(NamedTuple):
    """ffmpeg executable that has the required libraries."""

    path: str
    version: str
    """First line of ``ffmpeg -version``."""


class Font(NamedTuple):
    """Font for subtitles, with Chinese characters and Latin letters: its file and family name."""

    path: Path
    family: str


class EncodeSpec(NamedTuple):
    """Parameters of the encode of one scene."""

    width: int
    height: int
    frames: int
    moving: bool
    """True if ffmpeg gets every frame through a pipe; false if it repeats one picture."""
    subtitled: bool
    mono: bool
    """True if the audio has one channel."""


class FfmpegError(Exception):
    """Error for an ffmpeg process that failed although its inputs are valid."""


class FfmpegRun:
    """Run of ffmpeg; its error output and fault are complete after the block of `run_ffmpeg`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.errors = b""
        """Last `MAX_ERROR_BYTES` of the error output."""
        self.used_too_much_time = False
        """True if the CPU time limit ended the process."""

    def last_error_lines(self, lines: int = 8) -> str:
        """Return the last lines of the error output."""
        return "\n".join(self.errors.decode("utf-8", "replace").splitlines()[-lines:])

    def limit_fault(self, field: str) -> InputFault | None:
        """Return a fault of the input ``field`` if ffmpeg reached a limit of CPU time or memory.

        Return ``None`` if it reached neither limit.
        """
        if self.used_too_much_time:
            return process_limits.fault_from_exit(field, -signal.SIGXCPU)
        if self.process.returncode and any(words in self.errors for words in _OUT_OF_MEMORY):
            return process_limits.fault_from_exit(field, -signal.SIGKILL)
        return None

    def read_errors(self, pipe: int) -> None:
        """Read the error output from a pipe until its end, and keep the last `MAX_ERROR_BYTES`."""
        with open(pipe, "rb", buffering=0) as errors:
            while piece := errors.read(1 << 16):
                self.errors = (self.errors + piece)[-MAX_ERROR_BYTES:]
                time.sleep(0.01)  # ffmpeg writes single lines; a read per line is slow


def find_ffmpeg(environ: Mapping[str, str] = os.environ) -> Ffmpeg:
    """Return the ffmpeg to use.

    It is the one that ``CLOUDBURST_FFMPEG`` names, else the one in ``PATH``, else that of the
    package imageio-ffmpeg. In the last two places, an ffmpeg without libx264 or libass is skipped.

    Raises:
        ConfigurationError: there is no usable ffmpeg, or ``CLOUDBURST_FFMPEG`` names one that is
            not usable.
    """
    if named := environ.get("CLOUDBURST_FFMPEG"):
        if found := _examined(named):
            return found
        msg = f"CLOUDBURST_FFMPEG={named} is not an ffmpeg with libx264 and libass"
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
    return (
        Ffmpeg(path, text.partition("\n")[0])
        if all(n in text for n in _REQUIRED_BUILD_OPTIONS)
        else None
    )


_SYSTEM_FONTS = (
    ("NotoSansCJK-Regular.ttc", "Noto Sans CJK SC"),
    ("NotoSansCJKsc-Regular.otf", "Noto Sans CJK SC"),
    ("NotoSansSC-Regular.otf", "Noto Sans SC"),
    ("SourceHanSansSC-Regular.otf", "Source Han Sans SC"),
    ("wqy-microhei.ttc", "WenQuanYi Micro Hei"),
    ("wqy-zenhei.ttc", "WenQuanYi Zen Hei"),
    ("Hiragino Sans GB.ttc", "Hiragino Sans GB"),
)
"""File name and family name of fonts with Chinese characters, the best first."""

_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
)


def find_font(folders: Sequence[str | Path] = _FONT_FOLDERS) -> Font:
    """Return an installed font of `_SYSTEM_FONTS`, else that of the package noto-cjk-sans-otc.

    Raises:
        ConfigurationError: no font was found; Chinese text would show as empty boxes.
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
        msg = "no font with Chinese letters: install fonts-noto-cjk, or cloudburst-sdk[local]"
        raise ConfigurationError(msg) from None
    return Font(Path(str(wheel.FONT_PATH)), "Noto Sans CJK SC")


def decode_arguments() -> list[str]:
    """Return ffmpeg's arguments to decode audio to an AU stream: a header, then 16-bit samples."""
    return [
        *(*_quiet(), "-filter_threads", "1", *_sound_input()),
        *("-map", "0:a:0", "-c:a", "pcm_s16be", "-f", "au", "pipe:1"),
    ]


def encode_arguments(scene: EncodeSpec) -> list[str]:
    """Return ffmpeg's arguments to encode frames and audio to MP4 and to print the progress."""
    return [
        *_quiet(),
        *("-filter_complex_threads", "1"),
        *("-progress", "pipe:1", "-stats_period", "0.1"),
        *("-f", "rawvideo", "-pixel_format", "yuv420p", "-framerate", str(FPS)),
        *("-video_size", f"{scene.width}x{scene.height}"),
        *("-i", "pipe:0" if scene.moving else STILL_FILE),
        *_sound_input(),
        *("-filter_complex", filter_graph(scene), "-map", "[v]", "-map", "[a]"),
        *("-map_metadata", "-1", "-map_chapters", "-1", "-frames:v", str(scene.frames)),
        *picture_arguments(scene),
        *("-c:a", "aac", "-b:a", "128k"),
        *("-movflags", "+faststart", "-f", "mp4", PARTIAL_VIDEO_FILE),
    ]


def picture_arguments(scene: EncodeSpec) -> list[str]:
    """Return ffmpeg's arguments for the video encoder, including colour tags.

    Players show untagged HD video in wrong colours. A moving scene has only one encoder thread,
    because drawing its frames already uses another core; a second encoder thread would save a
    tenth of the time, but need 20 MB more memory and 4 % more CPU time.
    """
    threads = 1 if scene.moving else 2
    return [
        *("-c:v", "libx264", "-preset", "superfast", "-crf", "21", "-threads:v", str(threads)),
        *("-x264-params", _X264_PARAMS, "-pix_fmt", "yuv420p", "-color_range", "tv"),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    ]


def filter_graph(scene: EncodeSpec) -> str:
    """Return ffmpeg's filter graph for the video and the audio of a scene.

    The filters repeat a still picture, tag its colours and draw the subtitles. They convert the
    audio to 48 kHz in stereo and pad or cut it to the length of the video. The colour tags come
    first, because ffmpeg 7 and later treat untagged raw HD frames as BT.601.
    """
    video = (
        [f"loop=loop={scene.frames - 1}:size=1"] if not scene.moving and scene.frames > 1 else []
    )
    video.append(f"setparams={_BT709_TAGS}")
    if scene.subtitled:
        video.append(f"subtitles=filename={ASS_FILE}:fontsdir={FONTS_FOLDER}:wrap_unicode=1")
    samples = scene.frames * SAMPLES_PER_FRAME
    # By default ffmpeg converts mono to stereo with 3 dB less volume.
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
    """Return ffmpeg's arguments to read the audio, without pictures, subtitles and data streams.

    One thread is enough; for flac it takes less than half the CPU time of several threads.
    """
    return (
        *("-threads", "1", "-vn", "-sn", "-dn"),
        *("-protocol_whitelist", "file", "-format_whitelist", _DEMUXERS),
        *("-codec_whitelist", _DECODERS, "-i", f"file:{AUDIO}"),
    )


@contextmanager
def run_ffmpeg(
    ffmpeg: Ffmpeg,
    arguments: Sequence[str],
    folder: Path,
    *,
    seconds: float,
    processor_seconds: float | None = None,
    memory: int = process_limits.ENCODE_MEMORY_BYTES,
    fed: bool = False,
) -> Generator[FfmpegRun]:
    """Start ffmpeg in the job's folder, and kill it when the block ends or after ``seconds``.

    With ``fed``, its standard input is a pipe. `FfmpegRun.limit_fault` returns a fault if ffmpeg
    used more than ``processor_seconds`` of CPU time or needed more than ``memory`` bytes.
    """
    used_before = process_limits.children_cpu_seconds()
    errors, errors_end = os.pipe()
    try:
        process = subprocess.Popen(
            [ffmpeg.path, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors_end,
            env=os.environ | {"MALLOC_ARENA_MAX": "1"},  # saves 15 MB in glibc at the same speed
        )
    except BaseException:
        os.close(errors)
        raise
    finally:
        os.close(errors_end)
    run = FfmpegRun(process)
    listener = threading.Thread(target=run.read_errors, args=(errors,), daemon=True)
    listener.start()
    with process:
        process_limits.limit_memory(memory, process.pid)
        if processor_seconds is not None:
            process_limits.limit_cpu_time(processor_seconds, process.pid)
        deadline = threading.Timer(seconds, process.kill)
        deadline.daemon = True
        deadline.start()
        try:
            yield run
        finally:
            deadline.cancel()
            process.kill()
            process.wait()
            listener.join(5)
            used = process_limits.children_cpu_seconds() - used_before
            run.used_too_much_time = (
                processor_seconds is not None
                and process.returncode in _CPU_LIMIT_EXITS
                and used > processor_seconds - 1  # the kernel's limit is in whole seconds
            )
