"""Libraries in the wheels of PyAV: their licences and where their source is.

PyAV's wheels contain FFmpeg's libraries and those to which they are linked, each with its licence.
The module needs only the standard library.
"""

from __future__ import annotations

import re
from typing import NamedTuple

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
