# ruff: noqa: INP001
"""List the libraries that the installed wheel of PyAV carries: ``PYTHON docker/libraries.py``.

PyAV's wheels contain FFmpeg's libraries and those to which they are linked, each with its licence.
The wheel's own bill of materials lists only those from the system of its build. This program gets
the versions from the libraries and prints one JSON object for each. It runs in the environment that
it describes, and needs nothing but PyAV. Linux only: other wheels have other
libraries.

It fails for a library that is not in `LIBRARIES`: find out its licence, and add it there and to
``src/cloudburst/image/licenses/THIRD_PARTY.md``.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

FILE_NAME = re.compile(r"(?P<stem>lib.+)-[0-9a-f]{8}\.so\.(?P<version>[0-9.]+)")
"""File names in ``av.libs``: auditwheel adds a hash of the content to them."""

GPL2 = "GPL-2.0-or-later"
LGPL3 = "LGPL-3.0-or-later"
GNU_DUAL = f"{LGPL3} OR {GPL2}"


class Library(NamedTuple):
    """Project whose code is in the wheel."""

    name: str
    licence: str
    """SPDX expression."""
    source: str


def _gitlab(path: str) -> str:
    return f"https://gitlab.freedesktop.org/xorg/lib/{path}"


ALSA = Library("alsa-lib", "LGPL-2.1-or-later", "https://github.com/alsa-project/alsa-lib")
DAV1D = Library("dav1d", "BSD-2-Clause", "https://code.videolan.org/videolan/dav1d")
DRM = Library("libdrm", "MIT", "https://gitlab.freedesktop.org/mesa/drm")
FFMPEG = Library("FFmpeg", LGPL3, "https://github.com/FFmpeg/FFmpeg")
GMP = Library("GMP", GNU_DUAL, "https://gmplib.org")
GNUTLS = Library("GnuTLS", "LGPL-2.1-or-later", "https://gitlab.com/gnutls/gnutls")
LAME = Library("LAME", "LGPL-2.0-or-later", "https://github.com/basswood-io/lamer")
NETTLE = Library("Nettle", GNU_DUAL, "https://git.lysator.liu.se/nettle/nettle")
OPENCORE = Library("opencore-amr", "Apache-2.0", "https://sourceforge.net/projects/opencore-amr")
OPUS = Library("Opus", "BSD-3-Clause", "https://gitlab.xiph.org/xiph/opus")
SVT = Library("SVT-AV1", "BSD-3-Clause-Clear", "https://gitlab.com/AOMediaCodec/SVT-AV1")
UNISTRING = Library("libunistring", GNU_DUAL, "https://www.gnu.org/software/libunistring")
VMAF = Library("libvmaf", "BSD-2-Clause-Patent", "https://github.com/Netflix/vmaf")
VPL = Library("libvpl", "MIT", "https://github.com/intel/libvpl")
VPX = Library("libvpx", "BSD-3-Clause", "https://github.com/webmproject/libvpx")
WEBP = Library("libwebp", "BSD-3-Clause", "https://github.com/webmproject/libwebp")
X264 = Library("x264", GPL2, "https://code.videolan.org/videolan/x264")
X265 = Library("x265", GPL2, "https://bitbucket.org/multicoreware/x265_git")
XAU = Library("libXau", "MIT-open-group", _gitlab("libxau"))
XCB = Library("libxcb", "X11", _gitlab("libxcb"))

_FFMPEG_PARTS = ("codec", "device", "filter", "format", "util")
LIBRARIES: dict[str, Library] = {
    **{f"libav{part}": FFMPEG for part in _FFMPEG_PARTS},
    "libswresample": FFMPEG,
    "libswscale": FFMPEG,
    "libasound": ALSA,
    "libdav1d": DAV1D,
    "libdrm": DRM,
    "libgmp": GMP,
    "libgnutls": GNUTLS,
    "libhogweed": NETTLE,
    "libnettle": NETTLE,
    "libmp3lame": LAME,
    "libopus": OPUS,
    "libopencore-amrnb": OPENCORE,
    "libopencore-amrwb": OPENCORE,
    "libSvtAv1Enc": SVT,
    "libsharpyuv": WEBP,
    "libwebp": WEBP,
    "libwebpmux": WEBP,
    "libunistring": UNISTRING,
    "libvmaf": VMAF,
    "libvpl": VPL,
    "libvpx": VPX,
    "libx264": X264,
    "libx265": X265,
    "libXau": XAU,
    "libxcb": XCB,
    "libxcb-shape": XCB,
    "libxcb-shm": XCB,
    "libxcb-xfixes": XCB,
}
"""Project of each file in ``av.libs``, by the name of the file without hash and version."""
WHEEL = "av"
LAME_VERSION = re.compile(rb"LAME(3\.\d+)")
"""Version in the code of LAME. Since PyAV 19, LAME is linked into libavcodec, without a file."""


class Carried(NamedTuple):
    """Project whose code is in an installed wheel, with its version there."""

    name: str
    version: str
    licence: str
    source: str


def _called(function: str, *arguments: Any) -> Callable[[ctypes.CDLL], str]:
    def version(library: ctypes.CDLL) -> str:
        function_of_library = library[function]
        function_of_library.restype = ctypes.c_char_p
        return _number(function_of_library(*arguments))

    return version


def _read(variable: str) -> Callable[[ctypes.CDLL], str]:
    return lambda library: _number(ctypes.c_char_p.in_dll(library, variable).value)


def _number(text: bytes | None) -> str:
    """Return the version in a text such as ``libopus 1.6.1`` or ``v4.2.0``."""
    return (text or b"").decode().split()[-1].removeprefix("v")


def _packed(value: int) -> str:
    """Return the version in a number such as 0x10600, which means 1.6.0."""
    return f"{value >> 16}.{value >> 8 & 255}.{value & 255}"


VERSIONS: dict[str, Callable[[ctypes.CDLL], str]] = {
    "libSvtAv1Enc": _called("svt_av1_get_version"),
    "libasound": _called("snd_asoundlib_version"),
    "libdav1d": _called("dav1d_version"),
    "libgmp": _read("__gmp_version"),
    "libgnutls": _called("gnutls_check_version", None),
    "libmp3lame": _called("get_lame_short_version"),
    "libnettle": lambda it: f"{it.nettle_version_major()}.{it.nettle_version_minor()}",
    "libopus": _called("opus_get_version_string"),
    "libunistring": lambda it: _packed(ctypes.c_int.in_dll(it, "_libunistring_version").value),
    "libvmaf": _called("vmaf_version"),
    "libvpx": _called("vpx_codec_version_str"),
    "libwebp": lambda it: _packed(it.WebPGetEncoderVersion()),
    "libx265": _read("x265_version_str"),
}
"""How each library reports its version."""


def main() -> None:
    """Print the projects whose code is in the wheel, one JSON object per line, sorted by name."""
    for carried in sorted(carried_by_wheel()):
        sys.stdout.write(json.dumps(carried._asdict()) + "\n")


def carried_by_wheel() -> set[Carried]:
    """Return the projects whose code is in the installed wheel of PyAV.

    Raises:
        KeyError: a library is not in `LIBRARIES`.
    """
    import av  # noqa: PLC0415 - loads the libraries, which find each other by this

    folder = Path(av.__file__).parents[1] / "av.libs"
    packages = _system_packages()
    found: dict[Library, str] = {FFMPEG: av.ffmpeg_version_info}
    for path in sorted(folder.iterdir()):
        match = FILE_NAME.fullmatch(path.name)
        assert match, path
        stem = match["stem"]
        library = LIBRARIES[stem]
        if version := VERSIONS.get(stem):
            found[library] = version(ctypes.CDLL(str(path)))
        else:
            # Files of one project have one version, which only one of them may report.
            found.setdefault(library, packages.get(library.name, match["version"]))
        if stem == "libavcodec" and (lame := LAME_VERSION.search(path.read_bytes())):
            found.setdefault(LAME, lame[1].decode())
    return {Carried(library.name, found[library], *library[1:]) for library in found}


def _system_packages() -> dict[str, str]:
    """Return the versions of libraries from the build system, by the wheel's bill of materials."""
    files = importlib.metadata.files(WHEEL) or []
    bills = [json.loads(file.read_text()) for file in files if file.name.endswith(".cdx.json")]
    return {part["name"]: part["version"] for bill in bills for part in bill["components"]}


if __name__ == "__main__":
    main()
