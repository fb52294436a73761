"""Bill of materials of the image: an SPDX document in an in-toto statement.

BuildKit attaches a bill in the same way, and ``docker buildx imagetools inspect`` and Docker Scout
read it. They read SPDX only. ``nox -s sbom`` writes a bill in CycloneDX for other programs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from cloudburst.image.av_libraries import FFMPEG, FILE_NAME, LAME, LIBRARIES
from cloudburst.image.base_image import BaseImage
from cloudburst.image.debian import distribution
from cloudburst.image.manifests import EPOCH
from cloudburst.image.options import Architecture
from cloudburst.image.own_package import LICENCES
from cloudburst.image.wheel_contents import Wheel
from cloudburst.version import DISTRIBUTION, PACKAGE_VERSION

PREDICATE = "https://spdx.dev/Document"
UNKNOWN = "NOASSERTION"
FONT_WHEEL, AV_WHEEL = "noto-cjk-sans-otc", "av"
_ROW = re.compile(
    r"^\| (\S[^|]*?) \| (?:core )?([^|]+?) \| ([^|]+?) \| (?:<([^|>]+)>)?[^|]*\|$", re.MULTILINE
)
"""Pattern of a row of a table on the page of licences."""
_SPDX = re.compile(r"[A-Za-z0-9.+() -]{1,200}")
_ID = re.compile(r"[^A-Za-z0-9.-]")


@dataclass(frozen=True, slots=True)
class Component:
    """Package or library in the image."""

    kind: str
    """Kind in the package URL specification: ``pypi``, ``deb/debian``, ``generic``, ``oci``."""
    name: str
    version: str
    licence: str = ""
    """SPDX expression; empty if it is not known."""
    source: str = ""
    """URL of its source code; empty if it is not known."""
    qualifiers: str = ""
    """Qualifiers of the package URL, such as ``?arch=amd64``."""
    inside: str = ""
    """Name of the package that contains it; empty for the image itself."""

    @property
    def id(self) -> str:
        """Identifier in the document."""
        text = f"{self.kind}-{self.name}-{self.version}"
        other = f"-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}" if self.qualifiers else ""
        return "SPDXRef-" + _ID.sub("-", text) + other

    @property
    def url(self) -> str:
        """Package URL."""
        return f"pkg:{self.kind}/{self.name}@{quote(self.version, safe='')}{self.qualifiers}"


@cache
def known_licences() -> dict[str, tuple[str, str, str]]:
    """Return version, licence and source from the page of licences, by the name in its tables."""
    text = (LICENCES / "THIRD_PARTY.md").read_text("utf-8")
    rows = (match.groups(default="") for match in _ROW.finditer(text))
    return {name: (version, licence, source) for name, version, licence, source in rows}


def image_components(base: BaseImage, wheels: Iterable[Wheel]) -> tuple[Component, ...]:
    """Return everything in an image: packages of the base, wheels, and what is inside wheels."""
    found = list[Component]()
    for wheel in wheels:
        licence = wheel.licence or known_licences().get(wheel.name, ("", "", ""))[1]
        found.append(Component("pypi", wheel.name, wheel.version, licence))
        if wheel.name == AV_WHEEL:
            found += _libraries(entry.path for entry in wheel.entries)
        if wheel.name == FONT_WHEEL:
            font = "https://github.com/notofonts/noto-cjk"
            found.append(
                Component("generic", "noto-sans-cjk", "2.004", "OFL-1.1", font, inside=FONT_WHEEL)
            )
    found.append(Component("pypi", DISTRIBUTION, PACKAGE_VERSION, "MIT"))
    distro = distribution(base.facts.os_release)
    family = distro.partition("-")[0] or "debian"
    for package in base.facts.packages:
        qualifiers = f"?arch={package.architecture}" + (f"&distro={distro}" if distro else "")
        found.append(
            Component(f"deb/{family}", package.name, package.version, qualifiers=qualifiers)
        )
    return tuple(found)


def _libraries(paths: Iterable[str]) -> Iterator[Component]:
    """Yield the projects whose libraries are in PyAV's wheel, sorted by name."""
    names = (FILE_NAME.fullmatch(path.rpartition("/")[2]) for path in paths)
    projects = {LIBRARIES[name["stem"]] for name in names if name and name["stem"] in LIBRARIES}
    for project in sorted({FFMPEG, LAME, *projects}):
        version, _, _ = known_licences().get(project.name, ("", "", ""))
        yield Component(
            *("generic", project.name, version, project.licence, project.source), inside=AV_WHEEL
        )


def statement(
    digest: str, architecture: Architecture, components: Sequence[Component]
) -> dict[str, Any]:
    """Return the statement about the image with a digest, for its bill of materials."""
    return {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": PREDICATE,
        "subject": [
            {
                "name": f"pkg:docker/cloudburst@{PACKAGE_VERSION}?platform=linux%2F{architecture}",
                "digest": {"sha256": digest.removeprefix("sha256:")},
            }
        ],
        "predicate": spdx_document(digest, architecture, components),
    }


def spdx_document(
    digest: str, architecture: Architecture, components: Sequence[Component]
) -> dict[str, Any]:
    """Return a document of SPDX 2.3."""
    name = f"cloudburst-{PACKAGE_VERSION}-linux-{architecture}"
    image = Component("oci", "cloudburst", digest, qualifiers=f"?arch={architecture}")
    by_name = {one.name: one.id for one in components}
    unique = hashlib.sha256(repr((digest, components)).encode()).hexdigest()[:32]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{unique}",
        "creationInfo": {"created": EPOCH, "creators": [f"Tool: {DISTRIBUTION}-{PACKAGE_VERSION}"]},
        "packages": [_package(image), *map(_package, components)],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", image.id),
            *(
                _relationship(by_name.get(one.inside, image.id), "CONTAINS", one.id)
                for one in components
            ),
        ],
    }


def _package(component: Component) -> dict[str, Any]:
    licence = component.licence if _SPDX.fullmatch(component.licence) else UNKNOWN
    made = {
        "SPDXID": component.id,
        "name": component.name,
        "downloadLocation": f"git+{component.source}" if component.source else UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": licence,
        "copyrightText": UNKNOWN,
        "supplier": UNKNOWN,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": component.url,
            }
        ],
    }
    return {**made, "versionInfo": component.version} if component.version else made


def _relationship(element: str, kind: str, related: str) -> dict[str, str]:
    return {
        "spdxElementId": element,
        "relationshipType": kind,
        "relatedSpdxElement": related,
    }
