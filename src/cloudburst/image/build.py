"""Build of the container image from a base image, wheels and this package, in counted steps."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from anyio import CapacityLimiter, to_thread

from cloudburst.concurrency import for_each
from cloudburst.errors import CloudburstError, ConfigurationError, ImageError
from cloudburst.image.base_image import docker_login, find_base, pull_base
from cloudburst.image.built_image import BuiltImage
from cloudburst.image.bytecode import BytecodeCompiler, compile_entries, find_compiler
from cloudburst.image.cache import ImageCache
from cloudburst.image.kernels import find_kernels
from cloudburst.image.layers import (
    ImageLayer,
    Recipe,
    cached_layer,
    layer_key,
    make_layer,
    own_layer,
    part_layer,
    runtime_layer,
)
from cloudburst.image.layout import BuiltLayers, write_image
from cloudburst.image.options import Architecture, ImageOptions
from cloudburst.image.own_package import builder_hash
from cloudburst.image.wheel_download import fetch_wheels
from cloudburst.image.wheels import distribute, read_wheel
from cloudburst.net.registry.client import RegistryClient, open_registry
from cloudburst.net.registry.errors import InvalidImageError, RegistryError
from cloudburst.net.registry.names import ImageReference
from cloudburst.net.registry.unpack import zstd_module


async def build_image(
    options: ImageOptions, on_progress: OnBuildProgress | None = None
) -> BuiltImage:
    """Build the image, or return the one that was built before from the same inputs.

    The base image is looked up by its tag each time; everything else comes from the cache if it is
    there. The same base, packages, sources and Python for the bytecode give the same digest.

    Raises:
        ConfigurationError: an option is not valid.
        ImageError: the image cannot be built, or a package for building it is missing.
    """
    try:
        base = ImageReference.parse(options.base)
    except InvalidImageError as exc:
        raise ConfigurationError(f"the base image: {exc}") from exc
    if not options.architectures:
        raise ConfigurationError("the image needs at least one architecture")
    cache = ImageCache(options.cache_folder)
    with translated("the image was not built"):
        zstd_module()  # if it is missing, nothing is downloaded
        await to_thread.run_sync(cache.create)
        compiler = await to_thread.run_sync(find_compiler)
        builder = _Builder(
            options=options,
            cache=cache,
            compiler=compiler,
            code=await to_thread.run_sync(builder_hash),
            steps=BuildSteps(on_progress),
            limiter=CapacityLimiter(os.cpu_count() or 1),
        )
        built = await builder.build(base)
        return await to_thread.run_sync(write_image, cache, built, compiler)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Builder:
    options: ImageOptions
    cache: ImageCache
    compiler: BytecodeCompiler | None
    code: str
    """Hash of the builder."""
    steps: BuildSteps
    limiter: CapacityLimiter
    """Limiter of layers that are packed at once."""

    async def build(self, base: ImageReference) -> list[BuiltLayers]:
        names = tuple(dict.fromkeys(self.options.architectures))
        recipes = dict[Architecture, Recipe]()
        # First, because it is where an installation from source fails, and nothing is downloaded.
        async with self.steps.step("compile the pixel kernel"):
            for name in names:
                kernels = await to_thread.run_sync(find_kernels, name, self.cache)
                recipes[name] = await to_thread.run_sync(own_layer, kernels)
        async with self.steps.step("look up the base image"):
            login = self.options.base_credentials or await to_thread.run_sync(
                docker_login, base.registry
            )
            base = await find_base(base, login)
        built = dict[Architecture, BuiltLayers]()

        async def build(name: Architecture) -> None:
            built[name] = await self._layers(client, base, name, recipes[name])

        async with open_registry(base.url, login) as client:
            await for_each(names, build, at_once=len(names))
        return [built[name] for name in names]

    async def _layers(
        self, client: RegistryClient, base: ImageReference, name: Architecture, own: Recipe
    ) -> BuiltLayers:
        async with self.steps.step(f"download the base image ({name})"):
            image = await pull_base(client, base, name, self.cache)
        async with self.steps.step(f"download the packages ({name})"):
            paths = await fetch_wheels(self.options.lock_file, name, self.cache)
            wheels = [await to_thread.run_sync(read_wheel, path) for path in paths]
        recipes = [runtime_layer(image), *map(part_layer, distribute(wheels)), own]
        made = dict[int, ImageLayer]()

        async def make(numbered: tuple[int, Recipe]) -> None:
            place, recipe = numbered
            async with self.steps.step(f"pack {recipe.name} ({name})"):
                made[place] = await to_thread.run_sync(self._make, recipe, limiter=self.limiter)

        await for_each(enumerate(recipes), make, at_once=len(recipes))
        layers = tuple(made[place] for place in range(len(recipes)))
        return BuiltLayers(architecture=name, base=image, layers=layers, wheels=tuple(wheels))

    def _make(self, recipe: Recipe) -> ImageLayer:
        """Return the layer of a recipe, from the cache if that has it; blocks."""
        version = self.compiler and self.compiler.version
        key = layer_key(self.code, recipe.name, recipe.inputs, version)
        if layer := cached_layer(self.cache, key):
            return layer
        entries, modules = recipe.contents()
        if self.compiler is not None:
            with self.cache.temporary_folder() as folder:
                entries = (*entries, *compile_entries(self.compiler, modules, folder))
        return make_layer(self.cache, key, recipe.name, entries)


@contextmanager
def translated(action: str) -> Generator[None]:
    """Raise `ImageError` for errors of registry and files; ``action`` says what failed."""
    try:
        yield
    except RegistryError as exc:
        raise ImageError(f"{action}: {exc}") from exc
    except OSError as exc:
        if isinstance(exc, CloudburstError):
            raise
        where = f"{exc.filename}: " if exc.filename else ""
        raise ImageError(f"{action}: {where}{exc.strerror or exc}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProgress:
    """State of a build, for a display."""

    step: str
    """Description of the current step, for example ``download the packages (amd64)``."""
    done: int = 0
    """Number of steps that are finished."""
    total: int = 0
    """Number of steps of the build, as far as they are known."""


OnBuildProgress: TypeAlias = Callable[[BuildProgress], None]


class BuildSteps:
    """Counter of the steps of a build, several of which run at once."""

    def __init__(self, on_progress: OnBuildProgress | None) -> None:
        self._on_progress = on_progress
        self._running = list[str]()
        self._done = 0

    @asynccontextmanager
    async def step(self, name: str) -> AsyncGenerator[None]:
        """Report the start and the end of a step."""
        self._running.append(name)
        self._report()
        yield
        self._running.remove(name)
        self._done += 1
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            step = self._running[0] if self._running else ""
            total = self._done + len(self._running)
            self._on_progress(BuildProgress(step=step, done=self._done, total=total))
