"""Reading of indexes, manifests and configurations.

Registries are not trusted: every value is checked, and a document that violates the OCI image
specification or a limit of `cloudburst.registry.documents` raises `InvalidImageError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar, cast

from cloudburst.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_BLOB_BYTES,
    MAX_DOCUMENT_BYTES,
    MAX_ENTRIES,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
)
from cloudburst.registry.errors import InvalidImageError
from cloudburst.registry.names import DIGEST

T = TypeVar("T")
MAX_TEXT_LENGTH = 16 * 1024
"""Maximum number of characters of a text in a document, such as a label."""


def parse_index(data: bytes) -> Index:
    """Return an index (OCI or Docker); raise `InvalidImageError` for anything else."""
    document = _parse_json(data, "index")
    return Index(
        media_type=_media_type(document, INDEX_TYPES, "index"),
        manifests=_list(document, "manifests", _descriptor),
        annotations=_texts(document, "annotations"),
    )


def parse_manifest(data: bytes) -> Manifest:
    """Return a manifest (OCI or Docker); raise `InvalidImageError` for anything else."""
    document = _parse_json(data, "manifest")
    subject = document.get("subject")
    return Manifest(
        media_type=_media_type(document, MANIFEST_TYPES, "manifest"),
        config=_descriptor(document.get("config"), "config"),
        layers=_list(document, "layers", _descriptor),
        annotations=_texts(document, "annotations"),
        subject=None if subject is None else _descriptor(subject, "subject"),
    )


def parse_config(data: bytes) -> ImageConfig:
    """Return the configuration of an image; raise `InvalidImageError` for anything else."""
    document = _parse_json(data, "configuration")
    file_system = _object(document.get("rootfs"), "rootfs")
    process = _object(document.get("config") or {}, "config")
    return ImageConfig(
        platform=_platform(document, "configuration"),
        diff_ids=_list(file_system, "diff_ids", _digest),
        entrypoint=_list(process, "Entrypoint", _word),
        command=_list(process, "Cmd", _word),
        environment=dict(_list(process, "Env", _variable)),
        user=_text(process, "User"),
        working_folder=_text(process, "WorkingDir"),
        volumes=_names(process, "Volumes"),
        labels=_texts(process, "Labels"),
    )


def parse_layout(data: bytes) -> tuple[Descriptor, ...]:
    """Return the entries of the file ``index.json`` of an OCI image layout folder."""
    return _list(_parse_json(data, "index.json"), "manifests", _descriptor)


def _parse_json(data: bytes, what: str) -> dict[str, object]:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidImageError(f"the {what} is larger than {MAX_DOCUMENT_BYTES // 1024**2} MiB")
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidImageError(f"the {what} is not valid JSON") from exc
    return _object(document, what)


def _media_type(document: dict[str, object], types: tuple[str, ...], what: str) -> str:
    """Return the media type; it is optional in OCI documents, whose type is the first one."""
    if document.get("schemaVersion") != 2:
        raise InvalidImageError(f"the {what} does not have schemaVersion 2")
    found = document.get("mediaType", types[0])
    if found not in types:
        raise InvalidImageError(f"{found!r:.100} is no media type of the {what}")
    return str(found)


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidImageError(f"{what} is not a JSON object")
    return cast("dict[str, object]", value)


def _list(
    document: dict[str, object], key: str, parse: Callable[[object, str], T]
) -> tuple[T, ...]:
    """Return the parsed entries of a list that may be missing or null."""
    value = document.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidImageError(f"{key} is not a list")
    entries = cast("list[object]", value)
    if len(entries) > MAX_ENTRIES:
        raise InvalidImageError(f"{key} has more than {MAX_ENTRIES} entries")
    return tuple(parse(entry, f"an entry of {key}") for entry in entries)


def _descriptor(value: object, what: str) -> Descriptor:
    entry = _object(value, what)
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB_BYTES:
        raise InvalidImageError(f"{what} has no valid size")
    media_type = _text(entry, "mediaType")
    if not media_type:
        raise InvalidImageError(f"{what} has no media type")
    platform = entry.get("platform")
    return Descriptor(
        media_type=media_type,
        digest=_digest(entry.get("digest"), what),
        size=size,
        platform=None if platform is None else _platform(_object(platform, "platform"), what),
        annotations=_texts(entry, "annotations"),
    )


def _platform(value: dict[str, object], what: str) -> Platform:
    platform = Platform(architecture=_text(value, "architecture"), os=_text(value, "os"))
    if not platform.architecture or not platform.os:
        raise InvalidImageError(f"{what} has no architecture or no operating system")
    return platform


def _digest(value: object, what: str) -> str:
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise InvalidImageError(f"{what} has no valid SHA-256 digest")
    return value


def _word(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH or "\0" in value:
        raise InvalidImageError(f"{what} is not a text of at most {MAX_TEXT_LENGTH} characters")
    return value


def _variable(value: object, what: str) -> tuple[str, str]:
    name, equals, text = _word(value, what).partition("=")
    if not name or not equals:
        raise InvalidImageError(f"{what} is not NAME=VALUE")
    return name, text


def _text(document: dict[str, object], key: str) -> str:
    value = document.get(key)
    return "" if value is None else _word(value, key)


def _texts(document: dict[str, object], key: str) -> dict[str, str]:
    entries = _optional_object(document, key)
    return {_word(name, key): _word(text, key) for name, text in entries.items()}


def _names(document: dict[str, object], key: str) -> tuple[str, ...]:
    """Return the names in an object that is used as a set of names."""
    return tuple(_word(name, key) for name in _optional_object(document, key))


def _optional_object(document: dict[str, object], key: str) -> dict[str, object]:
    """Return an object that may be missing or null."""
    value = document.get(key)
    entries = {} if value is None else _object(value, key)
    if len(entries) > MAX_ENTRIES:
        raise InvalidImageError(f"{key} has more than {MAX_ENTRIES} entries")
    return entries
