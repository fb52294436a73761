"""The commands ``cloudburst image``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudburst.aws.setup.ecr_push import translated_registry_errors
from cloudburst.cli import main
from cloudburst.errors import ResourceMissingError
from cloudburst.image.options import ImageOptions
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.net.registry.errors import NotInRegistryError
from support.docker_config import save_login
from support.own_images import account_with_registry
from support.setup_accounts import client

pytestmark = pytest.mark.real


@pytest.fixture
def cli(offline, monkeypatch, capsys, tmp_path_factory):
    """A function that runs a command with the tiny inputs, and returns its exit code and output."""
    login = offline.options.base_credentials
    registry = offline.options.base.partition("/")[0]
    monkeypatch.setenv("CLOUDBURST_BASE_IMAGE", offline.options.base)
    monkeypatch.setenv(
        "DOCKER_CONFIG", str(save_login(tmp_path_factory.mktemp("docker"), registry, login))
    )

    @dataclass(frozen=True, slots=True, kw_only=True)
    class TinyOptions(ImageOptions):
        lock_file: Path = offline.options.lock_file
        cache_folder: Path = offline.options.cache_folder

    monkeypatch.setattr("cloudburst.cli.image.ImageOptions", TinyOptions)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        code = main(["image", *map(str, arguments)])
        return code, capsys.readouterr()

    return run


def test_an_image_is_built_and_listed(cli, offline, tmp_path):
    code, printed = cli("build", "--to", tmp_path / "image")
    assert code == 0
    lines = printed.out.splitlines()
    amd64, arm64 = offline.image.platforms
    assert lines[:3] == [
        *(f"image   {offline.image.digest}", f"amd64   {amd64.digest}", f"arm64   {arm64.digest}"),
    ]
    assert f"org.opencontainers.image.base.name={offline.options.base}" in lines
    assert any(line.startswith("our package ") for line in lines)
    assert "cloudburst.protocol=native" in lines
    assert (tmp_path / "image" / "oci-layout").exists()
    code, shown = cli("show", tmp_path / "image")
    assert (code, shown.out) == (0, printed.out)
    code, printed = cli("show", "--json")
    assert json.loads(printed.out)["digest"] == offline.image.digest
    code, printed = cli("build", "--to", tmp_path / "image")
    assert code == 2
    assert "exists and is not an empty folder" in " ".join(printed.err.split())


def test_an_image_is_written_into_the_current_folder(cli, offline, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert cli("build", "--to", ".")[0] == 0
    assert {path.name for path in folder.iterdir()} == {
        *("blobs", "cloudburst.json", "index.json", "oci-layout")
    }
    assert list(tmp_path.iterdir()) == [folder], "no temporary folder remains"


def test_the_base_is_also_read_from_the_env_file(cli, offline, tmp_path, monkeypatch):
    name = "CLOUDBURST_BASE_IMAGE"
    (tmp_path / ".env").write_text(f"{name}={os.environ[name]}\n")
    monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    code, printed = cli("build", "--json")
    assert (code, json.loads(printed.out)["digest"]) == (0, offline.image.digest)
    assert f"CLOUDBURST_BASE_IMAGE in .env is {offline.options.base}" in printed.err


def test_an_image_of_one_architecture(cli):
    code, printed = cli("build", "--architecture", "arm64", "--json")
    assert code == 0
    (platform,) = json.loads(printed.out)["platforms"]
    assert platform["architecture"] == "arm64"
    assert cli("build", "--architecture", "sparc")[0] == 2


def test_an_image_is_pushed_to_any_registry(cli, offline, registry_server):
    name = f"{registry_server.host}/{registry_server.new_repository('cli')}"
    code, printed = cli("push", name)
    assert code == 0
    assert printed.out.startswith(f"{name}@{offline.image.digest}\n")
    code, printed = cli("push", f"{name}:{PACKAGE_VERSION}", "--json")
    found = json.loads(printed.out)
    assert (found["image"], found["bytes_sent"]) == (f"{name}@{offline.image.digest}", 0)


def test_without_a_name_an_image_is_pushed_to_the_repository_in_ecr(
    cli, offline, registry_server, monkeypatch
):
    with account_with_registry(registry_server, moto=False) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        client(emulator, "ecr").create_repository(repositoryName="cloudburst")
        code, printed = cli("push")
    assert code == 0, printed.err
    name = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudburst"
    assert printed.out.startswith(f"{name}@{offline.image.digest}\n")


def test_a_repository_that_ecr_lacks_is_created_by_init():
    missing = pytest.raises(ResourceMissingError, match="cloudburst init creates the repository")
    with missing, translated_registry_errors():
        raise NotInRegistryError("cloudburst: HTTP 404")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["push", "no name"], 2, "is not the name of an image"),
        (["build", "--base", "{host}/missing:1"], 1, "cannot be used: "),
        (["build", "--base", "UPPER CASE"], 2, "the base image: "),
        (["show", "/nowhere"], 1, "has no image that cloudburst has built"),
    ],
)
def test_errors_of_the_request_and_of_the_registry(cli, registry_server, arguments, code, message):
    found, printed = cli(*(one.format(host=registry_server.host) for one in arguments))
    assert found == code
    assert message in " ".join(printed.err.split())


@pytest.mark.few(1)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build_and_its_programs(offline, tmp_path, signum):
    """The program pip is one that never ends; its process group has its number."""
    modules = tmp_path / "modules"
    modules.mkdir()
    started = tmp_path / "started"
    code = f"import os, time\nopen({str(started)!r}, 'w').write(str(os.getpid()))\ntime.sleep(99)"
    (modules / "pip.py").write_text(code)
    login = offline.options.base_credentials
    environ = {
        **os.environ,
        "PYTHONPATH": str(modules),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DOCKER_CONFIG": str(save_login(tmp_path, offline.options.base.partition("/")[0], login)),
    }
    command = [sys.executable, "-m", "cloudburst", "image", "build"]
    with subprocess.Popen([*command, "--base", offline.options.base], env=environ) as process:
        deadline = time.monotonic() + 30
        while not (started.exists() and (pid := started.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signum)
        assert process.wait(30) == 128 + signum
    while Path("/proc", pid).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert list(tmp_path.glob("cache/cloudburst/image/tmp/*")) == []


def test_show_before_a_build_names_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["image", "show"]) == 2
    assert "run cloudburst image build" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_help_of_a_command_is_its_docstring(capsys):
    assert main(["image", "push", "--help"]) == 0
    assert "Only layers that the registry does not have are sent." in " ".join(
        capsys.readouterr().out.split()
    )
