"""The look-up of the base image, and what is checked before anything is downloaded."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import anyio
import pytest

from cloudburst.errors import ImageError
from cloudburst.image import base_image, build, kernels
from cloudburst.image.build import build_image
from cloudburst.image.cache import ImageCache
from cloudburst.image.options import ImageOptions
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.http import TransferPolicy
from cloudburst.net.registry.names import ImageReference
from support.hostile_registry import hostile_registry, silent, whole

pytestmark = pytest.mark.real


@pytest.fixture
def server():
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def options(port, tmp_path):
    return ImageOptions(base=f"127.0.0.1:{port}/library/python:3.13", cache_folder=tmp_path / "c")


@pytest.fixture
def no_kernel_needed(monkeypatch):
    monkeypatch.setattr(build, "find_kernels", lambda architecture, cache: ())


@pytest.mark.usefixtures("no_kernel_needed")
def test_a_base_that_cannot_be_reached_is_an_error_within_seconds(server, tmp_path):
    port = server.getsockname()[1]
    server.close()
    began = time.monotonic()
    message = rf"base image 127.0.0.1:{port}/library/python:3.13 cannot be used: .* --base"
    with pytest.raises(ImageError, match=message):
        anyio.run(build_image, options(port, tmp_path))
    assert time.monotonic() - began < 5  # with the patience of downloads, 14 seconds


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(silent(), "ReadTimeout"), (whole("429 Slow", Retry_After=60), "HTTP 429")],
    ids=["no answer", "wait"],
)
def test_a_registry_that_lets_the_build_wait_is_an_error_within_seconds(
    monkeypatch, answer, reason
):
    hurried = replace(base_image.LOOKUP_POLICY, idle_timeout=0.3)
    monkeypatch.setattr(base_image, "LOOKUP_POLICY", hurried)

    async def find():
        async with hostile_registry(answer) as registry:
            reference = f"127.0.0.1:{registry.port}/library/python:3.13"
            await base_image.find_base(ImageReference.parse(reference), None)

    with pytest.raises(ImageError, match=f"cannot be used: .*: {reason}. Check"):
        anyio.run(find)


def test_a_download_that_breaks_names_the_base(tmp_path):
    reference = ImageReference.parse("registry.example/python:3.13")

    async def pull():
        policy = TransferPolicy(attempts=1)
        async with (
            hostile_registry(whole("503 No")) as registry,
            open_registry(registry.url, policy=policy) as client,
        ):
            await base_image.pull_base(client, reference, "amd64", ImageCache(tmp_path))

    message = rf"base image {reference} cannot be used: .* HTTP 503\. .* run the command again"
    with pytest.raises(ImageError, match=message):
        anyio.run(pull)


def test_a_missing_kernel_is_an_error_before_any_connection(server, tmp_path, monkeypatch):
    """Also that of the second architecture."""
    present = kernels.image_targets("amd64")
    monkeypatch.setattr(kernels, "_is_installed", lambda target: target in present)
    monkeypatch.setattr(kernels, "_compiler", lambda target: None)
    server.settimeout(0.05)
    with pytest.raises(ImageError, match=r"pixel kernel for aarch64 .* is not in this"):
        anyio.run(build_image, options(server.getsockname()[1], tmp_path))
    with pytest.raises(TimeoutError):
        server.accept()


def test_both_architectures_have_the_base_of_one_look_up(offline, tmp_path, monkeypatch):
    """A tag may be moved between two look-ups."""
    found = []
    pull = build.pull_base

    async def pull_base(client, base, *others):
        found.append(base.digest)
        return await pull(client, base, *others)

    monkeypatch.setattr(build, "pull_base", pull_base)
    image = anyio.run(build_image, offline.options)
    assert found == [image.base.partition("@")[2]] * 2
