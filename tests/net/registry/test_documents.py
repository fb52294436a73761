"""Indexes, manifests and configurations of registries, right and wrong."""

from __future__ import annotations

import copy
import json

import pytest

from cloudburst.net.registry.documents import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    parse_config,
    parse_index,
    parse_manifest,
)
from cloudburst.net.registry.errors import InvalidImageError, NotInRegistryError

SHA, OTHER = ("sha256:" + digit * 64 for digit in "ab")
CONFIG = {"mediaType": OCI_CONFIG, "digest": SHA, "size": 100}
LAYER = {
    "mediaType": OCI_LAYER_ZSTD,
    "digest": OTHER,
    "size": 2000,
    "annotations": {"name": "base"},
}
ARM = {"architecture": "arm64", "os": "linux", "variant": "v8"}
DOCUMENTS = {
    parse_index: {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": SHA, "size": 9, "platform": ARM},
            {"mediaType": OCI_MANIFEST, "digest": OTHER, "size": 9},
        ],
        "annotations": {"a": "b"},
    },
    parse_manifest: {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": CONFIG,
        "layers": [LAYER],
        "subject": CONFIG,
        "artifactType": "x/y",
    },
    parse_config: {
        **ARM,
        "config": {
            "Entrypoint": ["python", "-m", "x"],
            "Cmd": None,
            "Env": ["PATH=/bin:/usr/bin", "EMPTY="],
            "User": "10001:10001",
            "WorkingDir": "/work",
            "Volumes": {"/tmp": {}},
            "Labels": {"version": "1"},
        },
        "rootfs": {"type": "layers", "diff_ids": [SHA, OTHER]},
    },
}


def parsed(parse):
    return parse(json.dumps(DOCUMENTS[parse]).encode())


def test_values_are_read():
    index, manifest, config = map(parsed, DOCUMENTS)
    assert index.select(Platform("arm64")) == Descriptor(OCI_MANIFEST, SHA, 9, Platform("arm64"))
    with pytest.raises(NotInRegistryError, match="no manifest for linux/amd64; it has linux/arm64"):
        index.select(Platform("amd64"))
    assert manifest.layers == (Descriptor(OCI_LAYER_ZSTD, OTHER, 2000, None, {"name": "base"}),)
    assert manifest.config == Descriptor(OCI_CONFIG, SHA, 100)
    assert config.platform == Platform("arm64")
    assert config.entrypoint == ("python", "-m", "x")
    assert config.command == ()
    assert config.environment == {"PATH": "/bin:/usr/bin", "EMPTY": ""}
    assert (config.user, config.working_folder) == ("10001:10001", "/work")
    assert config.diff_ids == (SHA, OTHER)
    assert config.labels == {"version": "1"}


def test_documents_of_docker_are_read():
    index = {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": []}
    assert parse_index(json.dumps(index).encode()).manifests == ()
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": CONFIG,
        "layers": [LAYER],
    }
    assert parse_manifest(json.dumps(manifest).encode()).config.digest == SHA


@pytest.mark.parametrize("parse", DOCUMENTS)
@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff", b"{", b"<html>"),
    ],
    ids=lambda data: repr(data[:10]),
)
def test_anything_else_is_an_error(parse, data):
    with pytest.raises(InvalidImageError):
        parse(data)


@pytest.mark.parametrize("digest", ["", "sha256:12", "../../../etc/passwd", SHA.upper(), None])
def test_a_digest_that_is_no_name_of_a_file_is_an_error(digest):
    document = copy.deepcopy(DOCUMENTS[parse_manifest])
    document["layers"][0]["digest"] = digest
    with pytest.raises(InvalidImageError):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("parse", DOCUMENTS)
def test_a_document_without_a_part_is_an_error(parse):
    for key in DOCUMENTS[parse].keys() & {"manifests", "config", "layers", "rootfs", "os"}:
        document = {name: value for name, value in DOCUMENTS[parse].items() if name != key}
        if (parse, key) != (parse_config, "config"):  # it is optional
            with pytest.raises(InvalidImageError, match=key):
                parse(json.dumps(document).encode())
