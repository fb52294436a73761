"""Bill of materials of an image."""

from __future__ import annotations

import re

import pytest

from cloudburst.image.sbom import Component, known_licences, spdx_document

ID = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")
DIGEST = "sha256:" + "ab" * 32


def bill(tiny, architecture):
    index = tiny.document(tiny.image.digest)["manifests"]
    image = {one["platform"]["architecture"]: one["digest"] for one in index}[architecture]
    (found,) = [
        one["digest"]
        for one in index
        if one.get("annotations", {}).get("vnd.docker.reference.digest") == image
    ]
    return tiny.document(tiny.document(found)["layers"][0]["digest"])["predicate"]


@pytest.mark.real
def test_the_bill_lists_the_base_the_packages_and_ours(tiny):
    document = bill(tiny, "arm64")
    urls = [one["externalRefs"][0]["referenceLocator"] for one in document["packages"]]
    digest = tiny.image.platforms[1].digest.replace(":", "%3A")
    assert urls == [
        f"pkg:oci/cloudburst@{digest}?arch=arm64",
        "pkg:pypi/pure@1.0",
        "pkg:pypi/native@2.0",
        f"pkg:pypi/cloudburst-sdk@{tiny.image.version}",
        "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13",
    ]
    assert document["packages"][1]["licenseDeclared"] == "MIT"
    assert document["packages"][4]["licenseDeclared"] == "NOASSERTION"


def check(document):
    """The rules of SPDX 2.3 that readers enforce."""
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(set(ids)) == len(ids)
    assert all(map(ID.fullmatch, ids))
    known = {"SPDXRef-DOCUMENT", *ids}
    for relation in document["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= known
    assert document["spdxVersion"] == "SPDX-2.3"
    assert document["documentNamespace"].startswith("https://")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["creationInfo"]["created"])


def test_names_and_versions_of_all_kinds_are_valid():
    components = (
        Component("deb/debian", "libstdc++6", "14.2.0-19", qualifiers="?arch=amd64"),
        Component("deb/debian", "perl", "1:5.40~rc1+x", qualifiers="?arch=all"),
        Component("pypi", "av", "19.0.2", "BSD-3-Clause"),
        Component("generic", "x264", "", "GPL-2.0-or-later", "https://code.x", inside="av"),
        Component("generic", "odd", "1", "see the file LICENSE; or ask", inside="no such package"),
    )
    document = spdx_document(DIGEST, "amd64", components)
    check(document)
    licences = [package["licenseDeclared"] for package in document["packages"]]
    assert licences[4:] == ["GPL-2.0-or-later", "NOASSERTION"]
    relations = [
        (one["spdxElementId"], one["relatedSpdxElement"]) for one in document["relationships"]
    ]
    assert ("SPDXRef-pypi-av-19.0.2", "SPDXRef-generic-x264-") in relations
    assert "1%3A5.40~rc1%2Bx" in document["packages"][2]["externalRefs"][0]["referenceLocator"]


def test_two_architectures_of_a_package_have_two_identifiers():
    components = [
        Component("deb/debian", "libc6", "2.41", qualifiers=f"?arch={name}")
        for name in ("amd64", "i386")
    ]
    check(spdx_document(DIGEST, "amd64", components))


def test_the_page_of_licences_is_read():
    licences = known_licences()
    assert licences["x264"][1:] == ("GPL-2.0-or-later", "https://code.videolan.org/videolan/x264")
    assert licences["typing-extensions"][1] == "PSF-2.0"
    assert len(licences) > 30
