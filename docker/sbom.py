# ruff: noqa: INP001
"""Write the bill of materials of an environment: ``python docker/sbom.py PYTHON FILE``.

cyclonedx-py lists the wheels of the environment of that Python. The contents of two of the wheels
have licences of their own and are added here as components: the libraries in PyAV's wheel (see
``docker/libraries.py``) and the font. Pillow and pydantic-core have bills of their own contents in
their ``*.dist-info/sboms``. The base image is not included: only a scan of the built image can list
the packages of Debian.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARIES = Path(__file__).with_name("libraries.py")
FONT_SOURCE = "https://github.com/notofonts/noto-cjk"


def library_component(library: Mapping[str, str]) -> dict[str, Any]:
    """Return the component of a library, from a line that ``docker/libraries.py`` prints."""
    licence = library["licence"]
    compound = " OR " in licence or " AND " in licence
    return {
        "type": "library",
        "bom-ref": f"av/{library['name']}",
        "name": library["name"],
        "version": library["version"],
        "licenses": [{"expression": licence} if compound else {"license": {"id": licence}}],
        "externalReferences": [{"type": "vcs", "url": library["source"]}],
    }


FONT: dict[str, Any] = {
    "type": "data",
    "bom-ref": "noto-sans-cjk",
    "name": "Noto Sans CJK",
    "version": "2.004",
    "licenses": [{"license": {"id": "OFL-1.1"}}],
    "externalReferences": [{"type": "vcs", "url": FONT_SOURCE}],
}


def with_contents(
    bom: dict[str, Any], carried: Mapping[str, Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    """Add the components that wheels contain to a bill; ``carried`` has them by the wheel's name.

    Raises:
        KeyError: the environment does not have such a wheel.
    """
    components = {component["name"]: component for component in bom["components"]}
    dependencies = {entry["ref"]: entry for entry in bom.setdefault("dependencies", [])}
    for name, contents in carried.items():
        wheel = components[name]["bom-ref"]
        bom["components"].extend(contents)
        entry = dependencies.setdefault(wheel, {"ref": wheel})
        entry.setdefault("dependsOn", []).extend(part["bom-ref"] for part in contents)
    bom["dependencies"] = list(dependencies.values())
    return bom


def main(python: str, target: Path) -> None:
    """Create the bill, validate it against CycloneDX's schema and write it."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - the tests do without
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    listed = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "environment", "--sv", "1.6", python],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    lines = subprocess.run([python, LIBRARIES], stdout=subprocess.PIPE, check=True).stdout
    libraries = [library_component(json.loads(line)) for line in lines.splitlines()]
    bom = with_contents(json.loads(listed), {"av": libraries, "noto-cjk-sans-otc": [FONT]})
    text = json.dumps(bom, indent=2) + "\n"
    if (error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        sys.exit(f"not valid: {error}")
    target.write_text(text)
    sys.stdout.write(f"{target}: {len(bom['components'])} components, valid CycloneDX 1.6\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
