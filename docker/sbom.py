# ruff: noqa: INP001
"""Write the bill of materials of an environment: ``python docker/sbom.py PYTHON FILE``.

cyclonedx-py lists the wheels of the environment of that Python. What two of the wheels carry
inside (the ffmpeg program, the font) is a component of its own licence, and is added to them here.
The base image is not in it: what Debian brings, only a scan of the built image can tell.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = """
import json, os, imageio_ffmpeg, subprocess
path = imageio_ffmpeg.get_ffmpeg_exe()
text = subprocess.run([path, "-version"], capture_output=True, text=True, check=True).stdout
print(json.dumps({"version": text.split()[2], "configuration": text}))
"""
FFMPEG_SOURCE = "https://github.com/FFmpeg/FFmpeg"
FONT_SOURCE = "https://github.com/notofonts/noto-cjk"


def ffmpeg_component(version: str, configuration: str) -> dict[str, Any]:
    """Return the ffmpeg of imageio-ffmpeg, with the licence of its build."""
    free = "GPL" if "--enable-gpl" in configuration else "LGPL"
    number = {"GPL": "2.0", "LGPL": "2.1"}[free]
    number = "3.0" if "--enable-version3" in configuration else number
    return {
        "type": "application",
        "bom-ref": "ffmpeg",
        "name": "ffmpeg",
        "version": version,
        "licenses": [{"license": {"id": f"{free}-{number}-or-later"}}],
        "externalReferences": [{"type": "vcs", "url": FFMPEG_SOURCE}],
    }


FONT: dict[str, Any] = {
    "type": "data",
    "bom-ref": "noto-sans-cjk",
    "name": "Noto Sans CJK",
    "version": "2.004",
    "licenses": [{"license": {"id": "OFL-1.1"}}],
    "externalReferences": [{"type": "vcs", "url": FONT_SOURCE}],
}


def with_contents(bom: dict[str, Any], carried: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Add to each wheel of the bill what it carries; ``carried`` is by the wheel's name."""
    components = {component["name"]: component for component in bom["components"]}
    dependencies = {entry["ref"]: entry for entry in bom.setdefault("dependencies", [])}
    for name, component in carried.items():
        wheel = components[name]["bom-ref"]  # a KeyError: the image has another ffmpeg or font
        bom["components"].append(component)
        entry = dependencies.setdefault(wheel, {"ref": wheel})
        entry.setdefault("dependsOn", []).append(component["bom-ref"])
    bom["dependencies"] = list(dependencies.values())
    return bom


def main(python: str, target: Path) -> None:
    """Make the bill, validate it against CycloneDX's schema and write it."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - the tests go without
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    listed = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "environment", "--sv", "1.6", python],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    found = json.loads(subprocess.run([python, "-c", PROGRAM], stdout=-1, check=True).stdout)
    ffmpeg = ffmpeg_component(found["version"], found["configuration"])
    bom = with_contents(json.loads(listed), {"imageio-ffmpeg": ffmpeg, "noto-cjk-sans-otc": FONT})
    text = json.dumps(bom, indent=2) + "\n"
    if (error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        sys.exit(f"not valid: {error}")
    target.write_text(text)
    sys.stdout.write(f"{target}: {len(bom['components'])} components, valid CycloneDX 1.6\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
