"""Small images in place of our own, and accounts with a real registry."""

from __future__ import annotations

import gzip
import hashlib
import json
from contextlib import contextmanager

from cloudburst.image.build import BuildProgress
from cloudburst.image.built_image import BuiltImage, BuiltPlatform, LayerSize
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.models.task import PROTOCOL_VERSION
from cloudburst.net.registry.documents import OCI_INDEX
from cloudburst.testing import EmulatedRegistry
from support.oci_layouts import LayoutWriter, tar_of
from support.setup_accounts import bare

OURS = {"cloudburst.protocol-version": str(PROTOCOL_VERSION)}
"""Annotation of the index and of the manifests of every image of ours."""


@contextmanager
def account_with_registry(server, **config):
    """An empty account whose ECR registry is a real one."""
    registry = EmulatedRegistry(url=server.url, username=server.username, password=server.password)
    with bare(registry=registry, **config) as emulator:
        yield emulator


class Builder:
    """Builds small images as `cloudburst.image.build_image` builds large ones."""

    def __init__(self, folder, *, own=b"one", packages=b""):
        self._folder = folder
        self._packages = packages
        self.own = own
        """Content of the layer of our package."""
        self.bytecode = "3.13.5"
        self.builds = 0
        self.options = None

    def sources_hash(self):
        return hashlib.sha256(self.own).hexdigest()

    async def __call__(self, options, on_progress=None):
        self.builds += 1
        self.options = options
        if on_progress is not None:
            on_progress(BuildProgress(step="compress the packages", done=1, total=2))
        return built_image(
            self._folder / str(self.builds),
            options.architectures,
            self._packages,
            self.own,
            {
                **OURS,
                "cloudburst.sources": self.sources_hash(),
                "cloudburst.bytecode": self.bytecode,
                "org.opencontainers.image.base.name": options.base,
            },
        )


def built_image(folder, architectures, packages, own, annotations):
    """An image of two layers for each architecture: packages, and our own.

    Images with other ``packages`` share no large layer, which the registry may have already.
    """
    folder.mkdir(parents=True)
    writer = LayoutWriter(folder)
    manifests, platforms = [], []
    for architecture in architectures:
        content = hashlib.shake_256(packages + architecture.encode()).digest(200_000)
        contents = {
            "packages": tar_of(("opt/packages", content)),
            "our package": tar_of(("opt/own", own)),
        }
        manifests.append(writer.image(architecture, list(contents.values()), annotations=OURS))
        layers = []
        for name, tar in contents.items():
            data = gzip.compress(tar, mtime=0)
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            layers.append(LayerSize(name=name, digest=digest, size=len(data)))
        platforms.append(
            BuiltPlatform(
                architecture=architecture, digest=manifests[-1]["digest"], layers=tuple(layers)
            )
        )
    index = writer.document({"manifests": manifests, "annotations": annotations}, OCI_INDEX)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    return BuiltImage(
        folder=folder,
        digest=index["digest"],
        base="base",
        platforms=tuple(platforms),
        version=PACKAGE_VERSION,
        labels={},
    )
