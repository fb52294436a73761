#!/bin/sh
# Take out of an environment what a running service never reads.
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)

# Installers, and what the packages bring along for their own developers.
rm -rf "$packages"/pip "$packages"/pip-*.dist-info "$1"/bin/pip* "$1"/bin/Activate.ps1 "$1"/bin/activate*
find "$packages" -type d -name tests -prune -print0 | xargs -0 rm -rf
find "$packages" \( -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name '*.a' -o -name '*.lib' \) -delete
rm -rf "$packages"/cloudburst/story

# Parts of Pillow for AVIF pictures, which are not accepted, and for colour profiles, with the
# libraries that only they load. Every file of av.libs is linked, directly or through others, to all
# modules of PyAV, which therefore cannot be imported without it.
rm -f "$packages"/PIL/_avif.* "$packages"/PIL/_imagingcms.* \
    "$packages"/pillow.libs/libavif-* "$packages"/pillow.libs/liblcms2-*

# Bytecode stays, but only that: written anew without a check of the sources' times, because every
# render starts a Python of its own.
find "$1" -type d -name __pycache__ -print0 | xargs -0 rm -rf
"$1"/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages"
