"""What goes into the container image: pinned, listed, and under which licences."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.project import ROOT

DOCKER = ROOT / "docker"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docker_{name}", DOCKER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def locked(name: str) -> dict[str, str]:
    """Name → version of a lock file, each of which has hashes."""
    text = (DOCKER / f"{name}.lock").read_text().replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(
            r"([a-z0-9-]+)==(\S+)( ; [^-]+)?(\s+--hash=sha256:[0-9a-f]{64})+", line
        )
        assert match, line[:100]
        found[match[1]] = match[2]
    return found


@pytest.mark.parametrize(
    ("name", "listed"), [("requirements", "requirements"), ("build", "build_requirements")]
)
def test_a_lock_has_what_pyproject_asks_for_with_hashes(name: str, listed: str) -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    versions = locked(name)
    for line in getattr(loaded("requirements"), listed)(pyproject):
        wanted = Requirement(line)
        version = versions[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{line}: run nox -s lock"


def test_the_image_installs_nothing_without_a_hash() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]*)", text)
    assert len(installs) == 3
    for arguments in installs:
        assert "--require-hashes" in arguments or arguments.startswith("--no-deps dist/")
    assert "pip wheel --no-deps --no-build-isolation" in text


def test_the_base_is_recorded_by_its_digest_and_used_again(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "docker").mkdir(parents=True)
    for name in ("Dockerfile", "docker/build.sh"):
        (project / name).write_text((ROOT / name).read_text())
    calls = tmp_path / "calls"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncase $1 in buildx) echo {DIGEST};; esac\n')
    docker.chmod(0o755)

    def build(*arguments: str) -> list[str]:
        calls.write_text("")
        command = ["sh", str(project / "docker" / "build.sh"), *arguments]
        subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
        return calls.read_text().splitlines()

    asked, built = build("-t", "cloudburst")
    assert asked.startswith("buildx imagetools inspect python:3.13-slim ")
    assert f"--build-arg PYTHON=python:3.13-slim@{DIGEST} " in built
    assert built.endswith("-t cloudburst .")
    (again,) = build()
    assert f"--build-arg PYTHON=python:3.13-slim@{DIGEST} " in again
    assert len(build("--update")) == 2
    docker.write_text("#!/bin/sh\necho no such image\n")
    failed = subprocess.run(
        ["sh", str(project / "docker" / "build.sh"), "--update"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    assert "no digest of python:3.13-slim" in failed.stderr
    assert not (project / "docker" / "base.lock").exists()


def test_what_wheels_carry_inside_is_in_the_bill_of_materials() -> None:
    sbom = loaded("sbom")
    bom = {
        "components": [
            {"name": "imageio-ffmpeg", "bom-ref": "a==1"},
            {"name": "noto-cjk-sans-otc", "bom-ref": "b==1"},
        ],
        "dependencies": [{"ref": "a==1"}],
    }
    ffmpeg = sbom.ffmpeg_component("n9", "configuration: --enable-gpl --enable-version3")
    made = sbom.with_contents(bom, {"imageio-ffmpeg": ffmpeg, "noto-cjk-sans-otc": sbom.FONT})
    licences = {
        component["name"]: component["licenses"][0]["license"]["id"]
        for component in made["components"][2:]
    }
    assert licences == {"ffmpeg": "GPL-3.0-or-later", "Noto Sans CJK": "OFL-1.1"}
    assert {"ref": "a==1", "dependsOn": ["ffmpeg"]} in made["dependencies"]
    assert {"ref": "b==1", "dependsOn": ["noto-sans-cjk"]} in made["dependencies"]
    with pytest.raises(KeyError):
        sbom.with_contents({"components": []}, {"imageio-ffmpeg": ffmpeg})


@pytest.mark.parametrize(
    ("configuration", "licence"),
    [
        ("--enable-gpl --enable-version3", "GPL-3.0-or-later"),
        ("--enable-gpl", "GPL-2.0-or-later"),
        ("--enable-version3", "LGPL-3.0-or-later"),
        ("", "LGPL-2.1-or-later"),
    ],
)
def test_the_licence_of_an_ffmpeg_follows_from_its_build(configuration: str, licence: str) -> None:
    component = loaded("sbom").ffmpeg_component("n9", configuration)
    assert component["licenses"] == [{"license": {"id": licence}}]


def test_the_page_of_licences_names_the_versions_of_the_image() -> None:
    page = (DOCKER / "licenses" / "THIRD_PARTY.md").read_text()
    versions = locked("requirements")
    rows = dict(re.findall(r"^\| (\S+) \| ([0-9]\S*) \|", page, re.MULTILINE))
    assert rows == versions
    assert "COPY LICENSE docker/licenses " in (ROOT / "Dockerfile").read_text()
    for name in ("GPL-3.0.txt", "OFL-1.1.txt"):
        assert (DOCKER / "licenses" / name).stat().st_size > 4000


@pytest.mark.real
def test_the_ffmpeg_and_the_licence_that_the_page_names_are_those_of_the_wheel() -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    if imageio_ffmpeg.__version__ != locked("requirements")["imageio-ffmpeg"]:
        pytest.skip("another wheel than the image's is installed here")
    found = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-version"], capture_output=True, text=True, check=True
    ).stdout
    page = (DOCKER / "licenses" / "THIRD_PARTY.md").read_text()
    assert found.split()[2] in page
    assert "--enable-gpl --enable-version3" in found
    assert "GPL-3.0-or-later" in page
