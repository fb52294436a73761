"""Layers above the base image: their contents, compressed tar files and keys in the cache."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from cloudburst.image.base_image import SETUID, BaseFiles, BaseImage, read_base
from cloudburst.image.cache import ImageCache, move
from cloudburst.image.entries import PREFIX, USER_ID, USER_NAME, Entry, text_entry, write_tar
from cloudburst.image.options import PYTHON
from cloudburst.image.own_package import own_entries
from cloudburst.image.wheels import SITE_PACKAGES, LayerPart, read_entries
from cloudburst.net.registry.documents import OCI_LAYER_ZSTD, Descriptor
from cloudburst.net.registry.unpack import zstd_module

# Compression level of zstd. Measured on the packages for x86-64 on 2026-11-26: level 3 makes 58.4
# MB in 0.6 CPU seconds, 9 makes 53.9 MB in 2.8, 15 makes 53.3 MB in 20, 19 makes 47.5 MB in 58. All
# take 0.3 seconds to unpack.
LEVEL = 9
OWN_LAYER, RUNTIME_LAYER = "our package", "python and user"
Contents: TypeAlias = tuple[Sequence[Entry], Sequence[Entry]]
"""Entries of a layer, and modules whose bytecode is added to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """Layer whose blob is in the cache."""

    name: str
    digest: str
    size: int
    """Compressed size in bytes."""
    diff_id: str
    """Digest of the tar file before compression."""

    @property
    def descriptor(self) -> Descriptor:
        """Reference to the blob in a manifest."""
        return Descriptor(OCI_LAYER_ZSTD, self.digest, self.size)


def layer_key(*parts: object) -> str:
    """Return the key of a layer that is made of these inputs."""
    # Another release of zstd may make other bytes.
    text = json.dumps([zstd_module().zstd_version, LEVEL, *parts])
    return hashlib.sha256(text.encode()).hexdigest()


def cached_layer(cache: ImageCache, key: str) -> ImageLayer | None:
    """Return the layer with a key, if the cache has it; blocks."""
    record: Any = cache.read_record(key)
    if record is None:
        return None
    layer = ImageLayer(**record)
    path = cache.blob_path(layer.digest)
    return layer if path.is_file() and path.stat().st_size == layer.size else None


def make_layer(cache: ImageCache, key: str, name: str, entries: Iterable[Entry]) -> ImageLayer:
    """Write a layer into the cache, whole or not at all; blocks."""
    with cache.temporary_folder() as folder:
        temporary = folder / "layer"
        with temporary.open("wb") as file:
            compressor = _Compressor(file)
            write_tar(entries, cast("IO[bytes]", compressor))
            compressor.finish()
        with temporary.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        layer = ImageLayer(
            name=name,
            digest=digest,
            size=temporary.stat().st_size,
            diff_id=f"sha256:{compressor.hash.hexdigest()}",
        )
        move(temporary, cache.blob_path(digest))
    cache.write_record(key, asdict(layer))
    return layer


class _Compressor(io.RawIOBase):
    def __init__(self, target: IO[bytes]) -> None:
        zstd = zstd_module()
        parameters = zstd.CompressionParameter
        options = {parameters.compression_level: LEVEL, parameters.checksum_flag: 1}
        self._zstd = zstd.ZstdCompressor(options=options)
        self._target = target
        self.hash = hashlib.sha256()
        self._size = 0

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self._size += len(data)
        self._target.write(self._zstd.compress(data))
        return len(data)

    def tell(self) -> int:
        return self._size

    def finish(self) -> None:
        self._target.write(self._zstd.flush())


@dataclass(frozen=True, slots=True)
class Recipe:
    """Inputs of a layer, by which the cache finds it, and a function that returns its contents."""

    name: str
    inputs: tuple[object, ...]
    contents: Callable[[], Contents]
    """Blocking function."""


def runtime_layer(base: BaseImage) -> Recipe:
    """Return the layer of the environment and the user of the service, on a base image."""

    def contents() -> Contents:
        files = read_base(base)
        files.require_glibc()
        return runtime_entries(files), files.standard_library()

    return Recipe(RUNTIME_LAYER, (base.pulled.manifest_descriptor.digest,), contents)


def part_layer(part: LayerPart) -> Recipe:
    """Return the layer of wheels or of a part of one."""

    def contents() -> Contents:
        entries = tuple(read_entries(part.files))
        return entries, _modules(entries)

    folder = part.files[0].wheel.parent  # its name is the hash of the lock file
    return Recipe(part.name, (folder.name,), contents)


def own_layer(kernels: Sequence[Path]) -> Recipe:
    """Return the layer of this package; blocks."""
    entries = own_entries(SITE_PACKAGES, kernels)
    found = [(one.path, one.mode, hashlib.sha256(one.data).hexdigest()) for one in entries]
    return Recipe(OWN_LAYER, (found,), lambda: (entries, _modules(entries)))


def _modules(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.path.endswith(".py")]


def runtime_entries(files: BaseFiles) -> tuple[Entry, ...]:
    """Return environment and user of the service, and setuid files of the base without that bit.

    The service starts no program that changes its user, so none may be able to.
    """
    python = files.python()
    folder = f"/{posixpath.dirname(python)}"
    settings = f"home = {folder}\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    links = {"python": f"/{python}", "python3": "python", f"python{PYTHON}": "python"}
    user = f"{USER_NAME}:x:{USER_ID}:{USER_ID}::/tmp:/usr/sbin/nologin"
    group = f"{USER_NAME}:x:{USER_ID}:"
    return (
        text_entry(f"{PREFIX}/pyvenv.cfg", settings),
        *(Entry(path=f"{PREFIX}/bin/{name}", link=target) for name, target in links.items()),
        text_entry("etc/passwd", "\n".join([*files.lines("etc/passwd"), user, ""])),
        text_entry("etc/group", "\n".join([*files.lines("etc/group"), group, ""])),
        Entry(path="tmp", mode=0o1777, is_folder=True),
        *(replace(one, mode=one.mode & ~SETUID) for one in files.with_setuid()),
    )
