"""Build of the container image from a base image, wheels and this package."""

from __future__ import annotations

import os

import anyio
from anyio import to_thread

from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.image.base_image import find_base
from cloudburst.image.built_image import BuiltImage
from cloudburst.image.bytecode import find_compiler
from cloudburst.image.cache import ImageCache
from cloudburst.image.cache_locks import build_lock
from cloudburst.image.cache_pruning import remove_unused
from cloudburst.image.docker_logins import docker_login
from cloudburst.image.errors import translated
from cloudburst.image.kernels import find_kernels
from cloudburst.image.layer_builder import BuiltLayers, LayerBuilder
from cloudburst.image.layout import write_image
from cloudburst.image.locked_packages import read_lock
from cloudburst.image.options import ImageOptions
from cloudburst.image.progress import OnBuildProgress, Steps
from cloudburst.registry import ImageReference, InvalidImageError, open_registry
from cloudburst.registry.errors import first_error


async def build_image(
    options: ImageOptions, on_progress: OnBuildProgress | None = None
) -> BuiltImage:
    """Build the image, or return the one that was built before from the same inputs.

    The base image is looked up by its tag each time; everything else comes from the cache if it is
    there. The same base, packages, sources and Python for the bytecode give the same digest.

    Raises:
        ConfigurationError: an option is not valid, or a package for building is missing.
        ImageError: the image cannot be built.
    """
    base = _parse_base(options.base)
    if not options.architectures:
        raise ConfigurationError("the image needs at least one architecture")
    cache, steps = ImageCache(options.cache_folder), Steps(on_progress)
    with translated("the image was not built"):
        await to_thread.run_sync(cache.create)
        async with build_lock(cache, steps):
            await to_thread.run_sync(cache.remove_leftovers)
            return await _build(options, base, cache, steps)


def _parse_base(text: str) -> ImageReference:
    try:
        return ImageReference.parse(text)
    except InvalidImageError as exc:
        raise ConfigurationError(f"the base image: {exc}") from exc


async def _build(
    options: ImageOptions, base: ImageReference, cache: ImageCache, steps: Steps
) -> BuiltImage:
    lock = await to_thread.run_sync(read_lock, options.lock_file)
    names = tuple(dict.fromkeys(options.architectures))
    # First, because it is where an installation from source fails, and nothing is downloaded yet.
    async with steps.step("compile the pixel kernel"):
        kernels = {name: await to_thread.run_sync(find_kernels, name, cache) for name in names}
    compiler = await to_thread.run_sync(find_compiler)
    limiter = anyio.CapacityLimiter(os.cpu_count() or 1)
    built = dict[str, BuiltLayers]()
    async with steps.step("look up the base image"):
        login = options.base_credentials or await to_thread.run_sync(docker_login, base.registry)
        base = await find_base(base, login)

    async with open_registry(base.url, login) as client:

        async def build(builder: LayerBuilder) -> None:
            built[builder.architecture] = await builder.build(client, base, lock)

        with first_error(CloudburstError, OSError):
            async with anyio.create_task_group() as tasks:
                for name in names:
                    builder = LayerBuilder(
                        architecture=name,
                        cache=cache,
                        compiler=compiler,
                        kernels=kernels[name],
                        steps=steps,
                        limiter=limiter,
                    )
                    tasks.start_soon(build, builder)
    image = await to_thread.run_sync(write_image, cache, [built[name] for name in names], compiler)
    await to_thread.run_sync(remove_unused, cache)
    return image
