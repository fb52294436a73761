"""A tiny base image in a real registry, tiny wheels, and an image that was built of them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from filelock import FileLock

from cloudburst.image.build import build_image
from cloudburst.image.built_image import BuiltImage
from cloudburst.image.options import ImageOptions
from support.stand_in_base import push_base
from support.tiny_image import base_members, write_layer, write_wheels


@pytest.fixture
def anyio_backend():
    return "asyncio"  # threads, processes and sockets


@dataclass(frozen=True)
class TinyBuild:
    """Inputs of a tiny image, and the image."""

    options: ImageOptions
    environ: dict[str, str]
    image: BuiltImage

    def document(self, digest):
        name = digest.removeprefix("sha256:")
        return json.loads((self.image.folder / "blobs/sha256" / name).read_text())

    def manifest(self, architecture):
        index = self.document(self.image.digest)
        (found,) = [
            one for one in index["manifests"] if one["platform"]["architecture"] == architecture
        ]
        return self.document(found["digest"])

    def config(self, architecture):
        return self.document(self.manifest(architecture)["config"]["digest"])

    def again(self, cache_folder=None, **changes):
        """Build again, perhaps with other options, and return the image."""
        options = replace(self.options, **changes)
        if cache_folder is not None:
            options = replace(options, cache_folder=cache_folder)
        return anyio.run(build_image, options)


@pytest.fixture(scope="session")
def tiny_inputs(tmp_path_factory, registry_server):
    folder = tmp_path_factory.mktemp("tiny")
    wheels = write_wheels(folder / "wheels")
    layer = write_layer(folder / "base.tar.gz", base_members())
    layers = {"amd64": layer, "arm64": layer}
    base = push_base(registry_server, folder / "base", layers, "tiny/python:3.13-slim")
    options = ImageOptions(
        base=base,
        base_credentials=registry_server.credentials,
        lock_file=wheels.lock_file,
        cache_folder=folder / "cache",
    )
    return options, wheels.environ


@pytest.fixture(scope="session")
def tiny(tiny_inputs, tmp_path_factory, worker_id):
    """The image of both architectures.

    What it is made of takes seconds, once for all test processes. The base image of each has
    another name, and so has the image.
    """
    options, environ = tiny_inputs
    if worker_id == "master":
        return build_tiny(options, environ)
    shared = tmp_path_factory.getbasetemp().parent / "tiny-cache"
    with FileLock(shared.with_suffix(".lock")):
        if shared.exists():
            shutil.copytree(shared, options.cache_folder)
        built = build_tiny(options, environ)
        if not shared.exists():
            images = shutil.ignore_patterns("images")
            shutil.copytree(options.cache_folder, shared, ignore=images)
    return built


def build_tiny(options, environ):
    saved = dict(os.environ)
    os.environ.update(environ)
    try:
        return TinyBuild(options, environ, anyio.run(build_image, options))
    finally:
        os.environ.clear()
        os.environ.update(saved)


@pytest.fixture
def offline(tiny, monkeypatch):
    """Let pip find the tiny wheels."""
    for name, value in tiny.environ.items():
        monkeypatch.setenv(name, value)
    return tiny


@pytest.fixture
def layer(tmp_path):
    """A function that writes a layer with these members."""
    numbers = iter(range(100))

    def write(*members) -> Path:
        return write_layer(tmp_path / f"layer-{next(numbers)}.tar.gz", members)

    return write
