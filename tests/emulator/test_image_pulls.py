"""Images that cannot be pulled or started: the task fails early, with the text of AWS."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

from cloudburst.emulator.bubblewrap import reason_not_run
from cloudburst.testing import EmulatorConfig, FargateEmulator, TaskFault
from support.emulator_calls import client, now
from support.image_account import (
    SHORT,
    ImageAccount,
    processes_with,
    require_bubblewrap,
)
from support.tiny_images import (
    ARCHITECTURE,
    ECS_ARCHITECTURE,
    OTHER_ARCHITECTURE,
    SHELL,
    push,
    registry_of,
)

pytestmark = pytest.mark.real
OTHER = ECS_ARCHITECTURE[OTHER_ARCHITECTURE]


def opened(server, **changes):
    settings = {"registry": registry_of(server), "moto": False, "buckets": ()}
    settings |= SHORT
    if changes.get("confined", True):
        require_bubblewrap()
    return FargateEmulator(EmulatorConfig.quick(**settings | changes))


@pytest.fixture(scope="module")
def account(registry_server):
    with opened(registry_server) as emulator:
        yield ImageAccount(emulator, registry_server)


@pytest.fixture(scope="module")
def shell(account):
    return account.add(SHELL)


def reason(account, image, **more):
    task, _ = account.run(image, **more)
    assert task.stop_code == "TaskFailedToStart"
    assert task.started is None
    return task.stopped_reason


class TestThatDoNotExist:
    """The registry is asked, and nothing else runs in place of the image."""

    def test_tag_and_digest(self, account, shell):
        for suffix in (":other", f"@sha256:{'0' * 64}"):
            found = reason(account, shell + suffix)
            assert found.startswith(
                "CannotPullContainerError: pull image manifest has been retried"
            )
            assert found.endswith(f"failed to resolve ref {shell}{suffix}: not found")

    def test_a_repository_that_was_not_created(self, account, shell):
        """A push to the registry does not create it; ECR refuses such a push."""
        host = shell.partition("/")[0]
        name = account.server.new_repository("uncreated")
        push(account.server, name, SHELL)
        assert reason(account, f"{host}/{name}").endswith(": not found")

    def test_other_registries_are_out_of_reach(self, account, shell):
        for image in (
            "public.ecr.aws/docker/library/busybox",
            shell.replace("us-east-1", "eu-west-1"),
        ):
            assert reason(account, image).endswith("dial tcp: i/o timeout")

    def test_platforms(self, account):
        image = account.add(SHELL.but(architectures=(OTHER_ARCHITECTURE,)))
        single = account.add(SHELL.but(architectures=(OTHER_ARCHITECTURE,), index=False))
        for name in (image, single):
            found = reason(account, name)
            assert found.endswith(f"descriptor matching platform 'linux/{ARCHITECTURE}'")
        found = reason(account, image, architecture=OTHER)
        assert f"this machine runs linux/{ARCHITECTURE} only" in found


class TestThatAreBroken:
    """The image exists, and its program cannot run."""

    def test_a_library_is_missing(self, account):
        image = account.add(SHELL.but(without=r"libc\.so"))
        task, lines = account.run(image)
        assert task.stop_code == "EssentialContainerExited"
        assert task.exit_code == 127
        assert "libc.so" in lines[0]

    def test_the_entry_point_does_not_exist(self, account, shell):
        found = reason(account, shell, entryPoint=["python"])
        assert 'exec: "python": executable file not found in $PATH: unknown' in found
        found = reason(account, shell, entryPoint=["/opt/run"])
        assert 'exec: "/opt/run": stat /opt/run: no such file or directory: unknown' in found

    def test_an_image_for_another_processor_stops_the_task(self, account):
        """The file is there and permitted, but Linux cannot execute it."""
        image = account.add(SHELL.but(files={"opt/run": b"\x7fELF\2\1\1" + bytes(60)}))
        task, lines = account.run(image, entryPoint=["/opt/run"])
        assert task.exit_code == 127
        assert "/opt/run" in lines[0]

    def test_the_user_does_not_exist(self, account, shell):
        assert "unable to find user video" in reason(account, shell, user="video")

    def test_the_working_folder_does_not_exist(self, account, shell):
        assert "chdir to /data" in reason(account, shell, workingDirectory="/data")


def test_faults_of_a_configuration_come_before_the_pull(registry_server):
    faults = {0: TaskFault(image_missing=True), 1: TaskFault(stopped_reason="Because.")}
    with opened(registry_server, task_faults=faults) as emulator:
        account = ImageAccount(emulator, registry_server)
        image = account.add(SHELL)
        assert reason(account, image).endswith(": not found")
        assert reason(account, image) == "Because."


class TestRegistries:
    """Problems of the registry are named by what fails."""

    def test_that_are_out_of_reach(self, registry_server):
        gone = dataclasses.replace(registry_of(registry_server), url="http://127.0.0.1:9")
        with opened(registry_server, registry=gone, confined=False) as emulator:
            account = ImageAccount(emulator, registry_server)
            name = client(emulator, "ecr").create_repository(repositoryName="some/name")
            found = reason(account, name["repository"]["repositoryUri"])
            assert found.endswith("dial tcp: i/o timeout")

    def test_that_refuse_the_login(self, registry_server):
        other = dataclasses.replace(registry_of(registry_server), password="wrong")
        with opened(registry_server, registry=other, confined=False) as emulator:
            account = ImageAccount(emulator, registry_server)
            name = client(emulator, "ecr").create_repository(repositoryName="some/name")
            found = reason(account, name["repository"]["repositoryUri"])
            assert found.startswith("CannotPullContainerError")
            assert "HTTP 401" in found

    def test_that_end(self, registry_server):
        with opened(registry_server, registry="start", confined=False) as emulator:
            account = ImageAccount(emulator, registry_server)
            ecr = client(emulator, "ecr")
            made = ecr.create_repository(repositoryName="some/name")
            folder = emulator._inside.account.ecr.images.folder
            [process] = processes_with(str(folder / "registry"))
            os.kill(process, signal.SIGKILL)
            found = reason(account, made["repository"]["repositoryUri"])
            assert found.endswith("dial tcp: i/o timeout")
            with pytest.raises(ClientError, match=r"The registry failed: .*onnect"):
                ecr.describe_images(repositoryName="some/name")


def test_a_layer_that_is_removed_during_a_pull(account):
    """The platform is not the problem."""
    image = account.add(SHELL.but(files={"one": b"of this image only"}))
    digest = layer_of(account, image)
    account.server.blob_path(digest).unlink()
    found = reason(account, image)
    assert found.startswith("CannotPullContainerError")
    assert f"blob {digest}: HTTP 404" in found


def layer_of(account, image):
    found = client(account.emulator, "ecr").batch_get_image(
        repositoryName=image.partition("/")[2],
        imageIds=[{"imageTag": "latest"}],
        acceptedMediaTypes=["application/vnd.oci.image.index.v1+json"],
    )
    [entry] = json.loads(found["images"][0]["imageManifest"])["manifests"]
    path = account.server.blob_path(entry["digest"])
    return json.loads(path.read_bytes())["layers"][0]["digest"]


def test_a_full_disk_fails_the_task_and_a_later_pull_succeeds(account):
    image = account.add(SHELL.but(files={"large": os.urandom(3_000_000)}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        found = reason(account, image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found.startswith("CannotPullContainerError")
    assert "cannot be written: File too large" in found
    assert account.run(image, "echo fine")[1] == ["fine"]


def test_a_pull_follows_one_that_was_cancelled_after_its_last_layer(registry_server):
    with opened(registry_server) as emulator:
        account = ImageAccount(emulator, registry_server)
        image = account.add(SHELL)
        task = account.start(image)
        [pulled] = now(emulator, task).images.values()
    with opened(registry_server) as emulator:
        account = ImageAccount(emulator, registry_server)
        folder = emulator._inside.account.ecr.images.folder
        left = folder / "roots" / pulled.digest.removeprefix("sha256:") / "left"
        left.mkdir(parents=True)
        account.start(account.add(SHELL))
        assert not left.exists()


class TestThatDoNotRun:
    """The worker of the configuration runs, as without a registry."""

    def test_platforms_are_checked(self, registry_server):
        with opened(registry_server, confined=False) as emulator:
            assert emulator.not_confined
            account = ImageAccount(emulator, registry_server)
            image = account.add(SHELL.but(architectures=(OTHER_ARCHITECTURE,)))
            assert "matching platform" in reason(account, image)
            account.start(account.add(SHELL))  # the stub worker

    def test_a_missing_program_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert reason_not_run(tmp_path) == "the program bwrap is missing; install bubblewrap"


def test_a_machine_that_forbids_namespaces_is_named(tmp_path):
    """Within this user namespace, Linux permits no further ones."""
    require_bubblewrap()
    program = (
        "import sys, pathlib; from cloudburst.emulator.bubblewrap import reason_not_run; "
        "print(reason_not_run(pathlib.Path(sys.argv[1])))"
    )
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    found = subprocess.run(
        [*inside, sys.executable, "-c", program, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.startswith("bwrap: "), found.stderr
