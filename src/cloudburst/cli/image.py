"""``cloudburst image``: builds our container image, pushes it and lists what it contains."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

from anyio import to_thread
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cloudburst.cli.options import Folder, Name
from cloudburst.cli.output import error_console, print_output, write_json
from cloudburst.display.terminal_texts import plain_table, safe_text, unwrapped
from cloudburst.display.texts import format_size, short_path
from cloudburst.errors import ConfigurationError
from cloudburst.image.base_image import docker_login
from cloudburst.image.build import BuildProgress, build_image, translated
from cloudburst.image.built_image import BuiltImage, last_image, read_image
from cloudburst.image.options import Architecture, ImageOptions
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.models.settings import Settings
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.errors import InvalidImageError
from cloudburst.net.registry.images import PushProgress, PushReport, push_image
from cloudburst.net.registry.names import ImageReference
from cloudburst.programs import run_until_signal

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Architectures = Annotated[
    list[Architecture] | None, Parameter(name="--architecture", negative=(), consume_multiple=True)
]

image_command = App(name="image", group_commands="Commands")


@image_command.command(name="build")
def build_command(
    *,
    base: Name | None = None,
    architectures: Architectures = None,
    to: Folder | None = None,
    as_json: AsJson = False,
) -> int:
    """Build the container image of the render service, without Docker.

    The image consists of a base image with Python, the packages of the lock file, and this
    installation of cloudburst. What was built or downloaded before comes from the cache.

    $ cloudburst image build --architecture amd64

    Parameters
    ----------
    base
        Base image: one with Python 3.13 and glibc. Default: CLOUDBURST_BASE_IMAGE, or
        public.ecr.aws/docker/library/python:3.13-slim. The login for its registry is the one that
        "docker login" saves in config.json.
    architectures
        Architecture, amd64 or arm64; repeat the option for several. Default: both.
    to
        New folder for the image, as an OCI image layout. Default: only the cache.
    as_json
        Print one JSON object.
    """
    if to is not None and to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigurationError(f"{to}: exists and is not an empty folder")
    options = ImageOptions.from_settings(Settings(), base=base, architectures=architectures)
    image, code = run_until_signal(partial(_build, options, to))
    if image is None:
        return code
    _print_image(image, to or image.folder, as_json=as_json)
    return 0


@image_command.command(name="push")
def push_command(
    repository: str | None = None,
    /,
    *,
    base: Name | None = None,
    architectures: Architectures = None,
    as_json: AsJson = False,
) -> int:
    """Build the container image and push it to a registry, without Docker.

    Only layers that the registry does not have are sent.

    $ cloudburst image push ghcr.io/me/cloudburst

    Parameters
    ----------
    repository
        Repository, such as ghcr.io/me/cloudburst, with a tag if it is not to be this version.
        Default: the repository cloudburst in the account's ECR, which "cloudburst init" creates.
        The login is the one that "docker login" saves in config.json; for ECR, AWS issues one.
    base
        Base image; see "cloudburst image build".
    architectures
        Architecture, amd64 or arm64; repeat the option for several. Default: both.
    as_json
        Print one JSON object.
    """
    options = ImageOptions.from_settings(Settings(), base=base, architectures=architectures)
    done, code = run_until_signal(partial(_build_and_push, options, repository))
    if done is None:
        return code
    image, name, report = done
    name = f"{name}@{report.digest}"
    if as_json:
        write_json({"image": name, **asdict(report)})
        return 0
    sent, present = format_size(report.bytes_sent), format_size(report.bytes_present)
    print_output(unwrapped(safe_text(name)))
    print_output(Text(f"{sent} sent in {report.seconds:.1f} s; {present} were there.", "dim"))
    _print_notes(image)
    return 0


@image_command.command(name="show")
def show_command(folder: Path | None = None, /, *, as_json: AsJson = False) -> int:
    """List the platforms, labels, layers and packages of an image that was built here.

    Parameters
    ----------
    folder
        Folder of "cloudburst image build --to". Default: the image that was built last.
    as_json
        Print one JSON object.
    """
    image = read_image(folder) if folder else last_image(ImageOptions())
    if image is None:
        raise ConfigurationError("no image was built yet: run cloudburst image build")
    _print_image(image, image.folder, as_json=as_json)
    return 0


async def _build(options: ImageOptions, to: Path | None) -> BuiltImage:
    with image_progress(error_console()) as show:
        image = await build_image(options, show)
    if to is not None:
        with translated("the image was not copied"):
            await to_thread.run_sync(_export, image.folder, to)
    return image


def _export(layout: Path, to: Path) -> None:
    """Copy an image; ``index.json`` comes last, so that no program takes a part for an image."""
    index = shutil.ignore_patterns("index.json")
    shutil.copytree(layout, to, ignore=index, dirs_exist_ok=True)
    shutil.copy(layout / "index.json", to)


async def _build_and_push(
    options: ImageOptions, repository: str | None
) -> tuple[BuiltImage, str, PushReport]:
    target = _target(repository) if repository else None
    with image_progress(error_console()) as show:
        image = await build_image(options, show)
        if target is None:
            return image, *await _push_to_ecr(image, show)
        login = await to_thread.run_sync(docker_login, target.registry)
        with translated("the image was not pushed"):
            async with open_registry(target.url, login) as client:
                report = await push_image(
                    *(client, image.folder, target.repository, target.tag or PACKAGE_VERSION),
                    on_progress=show,
                )
    return image, f"{target.registry}/{target.repository}", report


def _target(repository: str) -> ImageReference:
    try:
        return ImageReference.parse(repository)
    except InvalidImageError as exc:
        raise ConfigurationError(str(exc)) from exc


async def _push_to_ecr(
    image: BuiltImage, show: Callable[[PushProgress], object]
) -> tuple[str, PushReport]:
    from cloudburst.aws.client.client import open_aws  # noqa: PLC0415 - boto takes a while
    from cloudburst.aws.setup.ecr import our_image_name  # noqa: PLC0415
    from cloudburst.aws.setup.ecr_push import push_to_ecr  # noqa: PLC0415

    async with open_aws(Settings()) as aws:
        report = await push_to_ecr(aws, image, on_progress=show)
        return our_image_name(await aws.account_id(), aws.region), report


def _print_image(image: BuiltImage, folder: Path, *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(image) | {"folder": str(folder)})
        return
    digests = {"image": image.digest} | {one.architecture: one.digest for one in image.platforms}
    for name, value in {**digests, "folder": short_path(folder)}.items():
        print_output(unwrapped(safe_text(f"{name:6}  ", "dim"), safe_text(value)))
    print_output(Text())
    for name, value in sorted(image.labels.items()):
        print_output(unwrapped(safe_text(f"{name}=", "dim"), safe_text(value)))
    layers: dict[Architecture, Mapping[str, int]] = {
        one.architecture: {layer.name: layer.size for layer in one.layers}
        for one in image.platforms
    }
    packages: dict[Architecture, Mapping[str, int]] = {
        one.architecture: dict(one.packages) for one in image.platforms
    }
    for title, sizes in (("layer", layers), ("package", packages)):
        print_output(Text())
        print_output(_sizes(title, sizes))
    _print_notes(image)


def _print_notes(image: BuiltImage) -> None:
    for note in image.notes:
        print_output(safe_text(note, "yellow"))


def _sizes(title: str, columns: Mapping[Architecture, Mapping[str, int]]) -> Table:
    table = plain_table()
    table.add_column(title, no_wrap=True)
    for architecture in columns:
        table.add_column(architecture, justify="right", no_wrap=True)
    for name in dict.fromkeys(name for sizes in columns.values() for name in sizes):
        cells = (format_size(one[name]) if name in one else "" for one in columns.values())
        table.add_row(safe_text(name), *cells)
    table.add_section()
    table.add_row("total", *(format_size(sum(one.values())) for one in columns.values()))
    return table


ImageProgress: TypeAlias = BuildProgress | PushProgress


@contextmanager
def image_progress(console: Console) -> Generator[Callable[[ImageProgress], None]]:
    """Show the progress of a build and of an upload on a terminal; show nothing in a pipe."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[sizes]}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        shown = bar.add_task("", total=None, sizes="")

        def show(progress: ImageProgress) -> None:
            match progress:
                case BuildProgress(step=step, done=done, total=total):
                    text, sizes = safe_text(step).plain, ""
                case PushProgress(bytes_done=done, bytes_total=total):
                    text, sizes = "upload the image", f"{done / 1e6:.1f}/{total / 1e6:.1f} MB"
            bar.update(shown, description=text, completed=done, total=total or None, sizes=sizes)

        yield show
