"""Contents of the container image: pinned, listed, with their licences, and able to render."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import av
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cloudburst.image.bytecode import find_compiler
from cloudburst.image.own_package import needed_files
from cloudburst.image.trim import trim_environment
from cloudburst.renderer.kernel.compiler import ZIGLANG
from support.project import ROOT

DOCKER = ROOT / "docker"
IMAGE = ROOT / "src" / "cloudburst" / "image"
LOCKS = {
    "requirements": IMAGE / "requirements.lock",
    "build": DOCKER / "build.lock",
    "serve": DOCKER / "serve.lock",
}
LICENCES = IMAGE / "licenses"
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
    text = LOCKS[name].read_text().replace("\\\n", "")
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
    ("name", "listed"),
    [
        ("requirements", "requirements"),
        ("build", "build_requirements"),
        ("serve", "server_requirements"),
    ],
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
    assert len(installs) == 5
    for arguments in installs:
        assert "--require-hashes" in arguments or arguments.startswith("--no-deps dist/")
    assert "pip wheel --no-deps --no-build-isolation" in text


def test_worker_image_has_no_part_of_the_standing_server() -> None:
    names = {name.split("/")[1] for name, _ in needed_files()}
    assert {"renderer", "service"} <= names
    assert names.isdisjoint({"cli", "jobs", "serve", "story", "web"})
    assert locked("requirements").keys().isdisjoint({"fastapi", "mcp", "cyclopts"})
    assert {"fastapi", "mcp", "cyclopts"} <= locked("serve").keys()


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


def test_the_contents_of_wheels_are_in_the_bill_of_materials() -> None:
    sbom = loaded("sbom")
    bom = {
        "components": [
            {"name": "av", "bom-ref": "a==1"},
            {"name": "noto-cjk-sans-otc", "bom-ref": "b==1"},
        ],
        "dependencies": [{"ref": "a==1"}],
    }
    made = sbom.with_contents(
        bom,
        {
            "av": [
                sbom.library_component(
                    {"name": name, "version": "1", "licence": licence, "source": "https://a.b"}
                )
                for name, licence in (("x264", "GPL-2.0-or-later"), ("GMP", "A OR B"))
            ],
            "noto-cjk-sans-otc": [sbom.FONT],
        },
    )
    licences = {part["name"]: part["licenses"] for part in made["components"][2:]}
    assert licences == {
        "x264": [{"license": {"id": "GPL-2.0-or-later"}}],
        "GMP": [{"expression": "A OR B"}],
        "Noto Sans CJK": [{"license": {"id": "OFL-1.1"}}],
    }
    assert {"ref": "a==1", "dependsOn": ["av/x264", "av/GMP"]} in made["dependencies"]
    assert {"ref": "b==1", "dependsOn": ["noto-sans-cjk"]} in made["dependencies"]
    with pytest.raises(KeyError):
        sbom.with_contents({"components": []}, {"av": []})


def test_the_page_of_licences_names_the_versions_of_the_image() -> None:
    page = (LICENCES / "THIRD_PARTY.md").read_text()
    versions = locked("requirements")
    packages = page.partition("## Python packages of the image")[2]
    assert dict(re.findall(r"^\| (\S+) \| ([0-9]\S*) \|", packages, re.MULTILINE)) == versions
    assert "COPY LICENSE src/cloudburst/image/licenses " in (ROOT / "Dockerfile").read_text()
    named = set(re.findall(r"`([A-Z0-9.a-z-]+\.txt)`", page))
    assert named == {path.name for path in (LICENCES).glob("*.txt")}
    assert len(named) == 6
    for name in named:
        assert (LICENCES / name).stat().st_size > 4000


def test_each_library_under_a_permissive_licence_has_its_notice() -> None:
    page = (LICENCES / "THIRD_PARTY.md").read_text()
    rows = re.findall(r"^\| (\S+) \| [^|]+ \| ((?:BSD|MIT|X11)\S*) \| <", page, re.MULTILINE)
    notices = (LICENCES / "NOTICES.txt").read_text()
    assert len(rows) == 10
    for name, _ in rows:
        assert re.search(rf"^{re.escape(name)}\n-+\n", notices, re.MULTILINE), name


def listed_libraries() -> dict[str, dict[str, str]]:
    """The libraries in the installed wheel of PyAV, by their name."""
    if sys.platform != "linux":
        pytest.skip("wheels for other systems have other libraries")
    made = subprocess.run(
        [sys.executable, DOCKER / "libraries.py"], capture_output=True, text=True, check=True
    )
    return {(library := json.loads(line))["name"]: library for line in made.stdout.splitlines()}


@pytest.mark.real
def test_each_library_in_the_wheel_of_pyav_has_a_version_and_a_licence() -> None:
    libraries = listed_libraries()
    assert libraries["FFmpeg"]["version"] == av.ffmpeg_version_info
    assert libraries["x264"]["licence"] == libraries["x265"]["licence"] == "GPL-2.0-or-later"
    for library in libraries.values():
        assert re.match(r"[0-9]+", library["version"]), library
    # The licence that FFmpeg's libraries report, with which x264 and x265 are combined.
    (codec,) = (Path(av.__file__).parents[1] / "av.libs").glob("libavcodec-*")
    licence = ctypes.CDLL(str(codec)).avcodec_license
    licence.restype = ctypes.c_char_p
    assert licence() == b"LGPL version 3 or later"
    assert libraries["FFmpeg"]["licence"] == "LGPL-3.0-or-later"


@pytest.mark.real
def test_the_page_of_licences_lists_the_libraries_in_the_wheel_of_the_image() -> None:
    page = (LICENCES / "THIRD_PARTY.md").read_text()
    rows = re.findall(r"^\| (\S+) \| (?:core )?(\S+) \| (.+?) \| <(.+)> \|$", page, re.MULTILINE)
    table = {name: (version, licence, source) for name, version, licence, source in rows}
    listed = {
        name: (library["version"], library["licence"], library["source"])
        for name, library in listed_libraries().items()
    }
    if av.__version__ == locked("requirements")["av"]:
        assert table == listed
    else:  # the test runs with another wheel than the image's
        assert {name for name in listed if name not in table} <= {"opencore-amr"}
        assert all(table[name][1:] == listed[name][1:] for name in table if name in listed)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"found": {"version": "1", "kernel": "kernel-linux-x86_64-v3"}}', ""),
        ('{"missing": "ImportError: libxcb.so.1"}', "the test render failed: ImportError"),
    ],
)
def test_the_build_fails_without_what_rendering_needs(line: str, fault: str) -> None:
    found = loaded("check_render").fault(line)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


@pytest.mark.real
def test_the_check_of_the_build_renders(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('libxcb.so.1')")
    command = [sys.executable, DOCKER / "check_render.py"]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    made = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert made.returncode == 1
    assert "the test render failed: ImportError: libxcb.so.1" in made.stderr


def test_a_build_without_a_compiler_has_the_one_that_the_build_hook_requires() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pyproject["dependency-groups"]["kernel"] == [ZIGLANG]
    assert ZIGLANG in loaded("requirements").build_requirements(pyproject)
    assert "docker/check_render.py" in (ROOT / "Dockerfile").read_text()


def test_trimming_keeps_what_rendering_imports(tmp_path: Path) -> None:
    """A trimmed environment of empty files has lost only what no renderer loads."""
    packages = tmp_path / "lib" / "python3.13" / "site-packages"
    kept = [
        "av/codec/codec.abi3.so",
        "av.libs/libx265-0a1b2c3d.so.217",
        "PIL/_imaging.cpython-313-x86_64-linux-gnu.so",
        "PIL/_webp.cpython-313-x86_64-linux-gnu.so",
        "pillow.libs/libwebp-0a1b2c3d.so.7",
        "cloudburst/renderer/kernel/kernel.c",
        "cloudburst/renderer/kernel/libs/kernel-linux-x86_64.so",
        "noto_cjk_sans_otc/NotoSansCJK-Regular.ttc",
    ]
    lost = [
        "av/codec/codec.pyi",
        "av/codec/codec.pxd",
        "PIL/_avif.cpython-313-x86_64-linux-gnu.so",
        "pillow.libs/libavif-0a1b2c3d.so.16",
        "pip/__init__.py",
        "cloudburst/story/story.json",
        "cloudburst/cli/app.py",
    ]
    for name in (*kept, *lost):
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    trim_environment(tmp_path)
    assert [name for name in kept if not (packages / name).exists()] == []
    assert [name for name in lost if (packages / name).exists()] == []
    assert list((tmp_path / "bin").iterdir()) == []
    assert [path.name for path in packages.rglob("*.pyc")] == []


@pytest.mark.real
def test_the_trimming_program_removes_itself_and_compiles_the_others(tmp_path: Path) -> None:
    """As in the build with Docker, where it is part of the environment."""
    packages = tmp_path / "lib" / "python3.13" / "site-packages"
    program = packages / "cloudburst" / "image" / "trim.py"
    kept = [packages / name for name in ("one.py", "two.py", "cloudburst/service/app.py")]
    for path in (*kept, program):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("VALUE = 1\n")
    program.write_text((IMAGE / "trim.py").read_text())
    compiler = find_compiler()  # the Python of the image, which starts processes differently
    python = compiler.python if compiler else sys.executable
    subprocess.run([python, "-P", IMAGE / "trim.py", tmp_path], check=True)
    assert not program.parent.exists()
    for path in kept:
        assert list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")), path
