"""Indexes, manifests and configurations of registries, right and wrong."""

from __future__ import annotations

import copy
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.registry import (
    Descriptor,
    InvalidImageError,
    NotInRegistryError,
    Platform,
    parse_config,
    parse_index,
    parse_manifest,
)
from cloudburst.registry.documents import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MAX_BLOB_BYTES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
)

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
    assert manifest.subject == manifest.config == Descriptor(OCI_CONFIG, SHA, 100)
    assert config.platform == Platform("arm64")
    assert config.entrypoint == ("python", "-m", "x")
    assert config.command == ()
    assert config.environment == {"PATH": "/bin:/usr/bin", "EMPTY": ""}
    assert (config.user, config.working_folder) == ("10001:10001", "/work")
    assert config.diff_ids == (SHA, OTHER)
    assert config.labels == {"version": "1"}


def test_documents_of_docker_are_read():
    index = {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": []}
    assert parse_index(json.dumps(index).encode()).media_type == DOCKER_INDEX
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": CONFIG,
        "layers": [LAYER],
    }
    assert parse_manifest(json.dumps(manifest).encode()).media_type == DOCKER_MANIFEST


@pytest.mark.parametrize("parse", DOCUMENTS)
@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff", b"[" * 200_000, b"{", b"1" * 10_000),
        b" " * (4 * 1024**2 + 1),
    ],
    ids=lambda data: repr(data[:10]),
)
def test_anything_else_is_an_error(parse, data):
    with pytest.raises(InvalidImageError):
        parse(data)


@pytest.mark.parametrize(
    "size", [-1, MAX_BLOB_BYTES + 1, True, "1", 1.0, None, [], float("inf"), 10**400]
)
def test_sizes_are_bounded(size):
    document = copy.deepcopy(DOCUMENTS[parse_manifest])
    document["layers"][0]["size"] = size
    with pytest.raises(InvalidImageError):
        parse_manifest(json.dumps(document).encode())


def test_the_number_of_layers_is_bounded():
    document = DOCUMENTS[parse_manifest] | {"layers": [LAYER] * 1001}
    with pytest.raises(InvalidImageError, match="more than 1000"):
        parse_manifest(json.dumps(document).encode())


def places(value, path=()):
    """Yield the paths of all values in a document."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in items:
        yield from places(part, (*path, key))


WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip


@given(data=st.data())
def test_a_wrong_value_anywhere_is_our_error_or_harmless(data):
    parse = data.draw(st.sampled_from(list(DOCUMENTS)))
    document = copy.deepcopy(DOCUMENTS[parse])
    *way, last = data.draw(st.sampled_from([path for path in places(document) if path]))
    owner = document
    for key in way:
        owner = owner[key]
    owner[last] = data.draw(WRONG)
    with suppress(InvalidImageError):
        parse(json.dumps(document).encode())
