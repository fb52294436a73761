"""Build of the layers of one architecture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio import CapacityLimiter, from_thread, to_thread

from cloudburst.image.base_image import BaseImage, pull_base, read_files
from cloudburst.image.builder_hash import LAYER_CODE
from cloudburst.image.bytecode import Compiler, compile_entries, modules_of
from cloudburst.image.cache import ImageCache
from cloudburst.image.entries import Entry
from cloudburst.image.layer_contents import (
    SITE_PACKAGES,
    Part,
    distribute,
    runtime_entries,
    standard_library,
)
from cloudburst.image.layers import Layer, cached_layer, layer_key, make_layer
from cloudburst.image.locked_packages import Lock
from cloudburst.image.options import Architecture
from cloudburst.image.own_package import own_entries
from cloudburst.image.progress import Steps
from cloudburst.image.wheel_contents import Wheel, read_wheels
from cloudburst.image.wheel_download import fetch_wheels
from cloudburst.registry import ImageReference, RegistryClient

OWN_LAYER, RUNTIME_LAYER = "our package", "python and user"
COMMON_FOLDERS = frozenset({"opt", "usr", "usr/share"})
"""Folders that every base or the layer `RUNTIME_LAYER` has, so that other layers omit them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLayers:
    """Layers of one architecture above its base image."""

    architecture: Architecture
    base: BaseImage
    layers: tuple[Layer, ...]
    """Layers in the order of the image, without those of the base."""
    wheels: tuple[Wheel, ...]
    parts: tuple[Part, ...]


_Contents: TypeAlias = tuple[Sequence[Entry], Sequence[Entry]]
"""Entries of a layer, and modules whose bytecode is added to them."""


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Inputs of a layer, by which the cache finds it, and a function that returns its contents."""

    name: str
    inputs: tuple[object, ...]
    contents: Callable[[], _Contents]
    """Blocking function."""
    known_folders: AbstractSet[str] = COMMON_FOLDERS


@dataclass(slots=True, kw_only=True)
class LayerBuilder:
    """Builder of the layers of one architecture. What the cache has is not built again."""

    architecture: Architecture
    cache: ImageCache
    compiler: Compiler | None
    kernels: Sequence[Path]
    """Libraries of the pixel kernel for this architecture."""
    steps: Steps
    limiter: CapacityLimiter
    """Limiter of layers that are packed at once."""

    async def build(self, client: RegistryClient, base: ImageReference, lock: Lock) -> BuiltLayers:
        """Return the base image and the layers above it.

        Raises:
            ImageError: something cannot be downloaded, compiled or read.
            OSError: the cache cannot be written.
        """
        name = self.architecture
        async with self.steps.step(f"download the base image ({name})"):
            image = await pull_base(client, base, name, self.cache)
        async with self.steps.step(f"download the packages ({name})"):
            paths = await fetch_wheels(lock, name, image.facts.glibc, self.cache)
            wheels = await to_thread.run_sync(read_wheels, paths, SITE_PACKAGES)
        parts = distribute(wheels)
        hashes = {wheel.name: path.parent.name for wheel, path in zip(wheels, paths, strict=True)}
        recipes = [
            self._runtime(image),
            *(self._part(part, [hashes[one] for one in part.wheels]) for part in parts),
            await to_thread.run_sync(self._own, self.kernels),
        ]
        made = dict[int, Layer]()
        async with anyio.create_task_group() as tasks:
            for place, recipe in enumerate(recipes):
                tasks.start_soon(self._make, recipe, made, place)
        return BuiltLayers(
            architecture=name,
            base=image,
            layers=tuple(made[place] for place in range(len(recipes))),
            wheels=wheels,
            parts=parts,
        )

    async def _make(self, recipe: _Recipe, made: dict[int, Layer], place: int) -> None:
        """Put the layer of a recipe into ``made``, from the cache if that has it."""
        key = layer_key(
            LAYER_CODE, recipe.name, *recipe.inputs, self.compiler and self.compiler.version
        )
        async with self.steps.step(f"pack {recipe.name} ({self.architecture})"), self.limiter:
            layer = await to_thread.run_sync(cached_layer, self.cache, key)
            made[place] = layer or await self._new_layer(recipe, key)

    async def _new_layer(self, recipe: _Recipe, key: str) -> Layer:
        entries, modules = await to_thread.run_sync(recipe.contents)
        if self.compiler is not None and modules:
            entries = (*entries, *await compile_entries(self.compiler, modules, self.cache.folder))

        def make() -> Layer:
            return make_layer(
                self.cache,
                key,
                recipe.name,
                entries,
                known_folders=recipe.known_folders,
                check_cancelled=from_thread.check_cancelled,
            )

        return await to_thread.run_sync(make)

    def _runtime(self, base: BaseImage) -> _Recipe:
        def contents() -> _Contents:
            files = read_files(base, from_thread.check_cancelled)
            return runtime_entries(base, files), standard_library(base, files)

        folders = frozenset(base.facts.folders)
        return _Recipe(RUNTIME_LAYER, (base.digest,), contents, known_folders=folders)

    def _part(self, part: Part, hashes: Sequence[str]) -> _Recipe:
        def contents() -> _Contents:
            return part.entries, modules_of(part.entries)

        return _Recipe(part.name, (part.number, part.parts, hashes), contents)

    def _own(self, kernels: Sequence[Path]) -> _Recipe:
        entries = own_entries(SITE_PACKAGES, kernels)
        found = [(one.path, one.mode, hashlib.sha256(one.read()).hexdigest()) for one in entries]
        return _Recipe(OWN_LAYER, (found,), lambda: (entries, modules_of(entries)))
