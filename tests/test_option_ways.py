"""Every render option, given in every way: each way results in the same options of the video."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudburst import (
    Client,
    FargateOperationV1,
    RenderOptions,
    blocking,
    read_scenes,
    render_frame,
)
from cloudburst.cli import main
from cloudburst.cli.backend_options import BackendOptions
from cloudburst.jobs import JobQueue, JobRequest
from cloudburst.models.options.subtitles import CAPTIONS
from cloudburst.renderer.job import JobOptions, RenderJob
from cloudburst.workers.local.frame import draw_frame
from support.font_files import latin_font
from support.old_calls import Account, account
from support.option_values import FILES, OPTIONS, VALUES, Option

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are read in threads


@pytest.fixture
def scene(
    tmp_path: Path, make_scene: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A scene, beside the files that the options name; the current folder is theirs."""
    made = make_scene("one", seconds=0.1)
    (tmp_path / "music.wav").write_bytes((tmp_path / "one.wav").read_bytes())
    (tmp_path / "mark.png").write_bytes((tmp_path / "one.png").read_bytes())
    (tmp_path / "own.ttf").write_bytes(latin_font())
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def cloud(scene: object, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Account in which old calls, clients and the command line render."""
    made = account(monkeypatch)
    monkeypatch.setattr(BackendOptions, "open_backend", lambda *_, **__: made.backend)
    return made


def check(cloud: Account, folder: Path, names: Mapping[str, Option] = OPTIONS) -> None:
    """Assert that the options reached the worker."""
    (seen,) = cloud.seen.values()
    options = seen[1]
    for name, option in names.items():
        wanted = option.value if option.result is None else option.result
        if name in FILES:
            wanted = folder / wanted
        found = getattr(options, name)
        assert (found, type(found) is bool) == (wanted, type(wanted) is bool), name


def test_every_option_has_a_value_that_is_not_its_default() -> None:
    assert OPTIONS.keys() == RenderOptions.model_fields.keys(), (
        "give each option a value in tests/support/option_values.py"
    )
    defaults = RenderOptions()
    chosen = RenderOptions.model_validate(VALUES)
    for name, option in OPTIONS.items():
        assert getattr(chosen, name) != getattr(defaults, name)
        assert getattr(chosen, name) == (option.value if option.result is None else option.result)


async def test_options_of_a_client(cloud: Account, scene: dict[str, str], tmp_path: Path) -> None:
    async with Client(cloud.backend, options=RenderOptions.model_validate(VALUES)) as client:
        await client.render(scene, to=tmp_path / "out")
    check(cloud, tmp_path)


async def test_options_of_a_call(cloud: Account, scene: dict[str, str], tmp_path: Path) -> None:
    async with Client(cloud.backend, options=RenderOptions(fps=24, cover=False)) as client:
        options = RenderOptions.model_validate(VALUES)
        await client.render_all([scene], to=tmp_path / "out", options=options)
    check(cloud, tmp_path)


async def test_options_of_a_scene(cloud: Account, scene: dict[str, Any], tmp_path: Path) -> None:
    async with Client(cloud.backend, options=RenderOptions(fps=24)) as client:
        await client.render(scene | {"options": VALUES}, to=tmp_path / "out")
    check(cloud, tmp_path)


async def test_options_of_the_old_class(
    cloud: Account, scene: dict[str, str], tmp_path: Path
) -> None:
    await FargateOperationV1().execute_batch([scene], saving_dir=tmp_path / "out", **VALUES)
    check(cloud, tmp_path)


def test_options_of_the_old_class_that_blocks(
    cloud: Account, scene: dict[str, str], tmp_path: Path
) -> None:
    operation = blocking.FargateOperationV1()
    operation.execute_batch([scene], saving_dir=tmp_path / "out", **VALUES)
    check(cloud, tmp_path)


def test_options_of_the_old_function(cloud: Account, scene: dict[str, str], tmp_path: Path) -> None:
    values = {name: value for name, value in VALUES.items() if name != "watermark"}
    blocking.execute_parallel_batches(
        [scene], watermark_path="mark.png", saving_dir="out", **values
    )
    check(cloud, tmp_path)


def test_zooms_of_the_old_function(cloud: Account, scene: dict[str, str], tmp_path: Path) -> None:
    blocking.execute_parallel_batches([scene], enable_zoom=False, saving_dir="out")
    check(cloud, tmp_path, {"effects": Option([], (), ())})


def as_json(path: Path, scene: dict[str, str]) -> None:
    path.write_text(json.dumps([scene | {"options": VALUES}]), "utf-8")


def as_yaml(path: Path, scene: dict[str, str]) -> None:
    path.write_text(yaml.safe_dump([scene | {"options": VALUES}]), "utf-8")


def as_csv(path: Path, scene: dict[str, str]) -> None:
    row = scene | {name: option.cell for name, option in OPTIONS.items()}
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([row.keys(), row.values()])


@pytest.mark.parametrize(
    ("name", "write"),
    [("s.json", as_json), ("s.yaml", as_yaml), ("s.csv", as_csv)],
    ids=["json", "yaml", "csv"],
)
async def test_options_of_a_file(
    cloud: Account,
    scene: dict[str, str],
    tmp_path: Path,
    name: str,
    write: Callable[[Path, dict[str, str]], None],
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Paths are relative to the file, not to the current folder."""
    write(tmp_path / name, scene)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with Client(cloud.backend, options=RenderOptions(fps=24)) as client:
        await client.render_all(read_scenes(tmp_path / name), to=tmp_path / "out")
    check(cloud, tmp_path)


def test_flags_of_the_command_line(cloud: Account, scene: dict[str, str], tmp_path: Path) -> None:
    Path("s.json").write_text(json.dumps([scene]), "utf-8")
    flags = [word for option in OPTIONS.values() for word in option.flags]
    assert main(["render", "s.json", "--to", "out", "--quiet", *flags]) == 0
    check(cloud, tmp_path)


async def test_options_of_a_submitted_job(
    cloud: Account, scene: dict[str, str], tmp_path: Path
) -> None:
    request = JobRequest.model_validate({"scenes": [scene], "options": VALUES})
    async with (
        Client(cloud.backend, options=RenderOptions(fps=24)) as client,
        JobQueue(client, tmp_path / "jobs") as queue,
    ):
        job = await queue.submit(JobRequest.model_validate_json(request.model_dump_json()))
        async for _ in queue.events(job.id):
            pass
    check(cloud, tmp_path)


KEEP_JOB = """
import shutil, sys
from pathlib import Path
folder, _, file, _ = sys.argv[-4:]
shutil.copytree(folder, {kept!r})
Path(folder, file).write_bytes(b"picture")
"""
"""Program that takes the place of the one that draws a frame, and keeps the job."""


@pytest.fixture
def kept(tmp_path: Path, scene: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that will have the job of a frame."""
    command = sys.executable, "-c", KEEP_JOB.format(kept=str(tmp_path / "kept"))
    monkeypatch.setattr(
        "cloudburst.client.preview.draw_frame", partial(draw_frame, command=command)
    )
    return tmp_path / "kept"


def check_job(folder: Path) -> None:
    """Assert that a job has every option, as a value or as a file."""
    options = RenderJob.from_json((folder / "job.json").read_text("utf-8")).options
    assert options == JobOptions.from_options(RenderOptions.model_validate(VALUES))
    for name, option in OPTIONS.items():
        if name == "caption":
            continue  # a job has the values of its options
        if name in FILES:
            assert (folder / name).read_bytes() == Path(option.value).read_bytes(), name
            assert getattr(options, name, (name,))[0] == name
        else:
            wanted = option.value if option.result is None else option.result
            assert getattr(options, name) == wanted, name


async def test_options_of_a_frame(kept: Path, scene: dict[str, str]) -> None:
    await render_frame(scene, options=RenderOptions.model_validate(VALUES))
    check_job(kept)


async def test_options_of_the_scene_of_a_frame(kept: Path, scene: dict[str, Any]) -> None:
    await render_frame(scene | {"options": VALUES}, options=RenderOptions(fps=24))
    check_job(kept)


def test_flags_of_the_command_for_a_frame(kept: Path, scene: dict[str, str]) -> None:
    Path("s.json").write_text(json.dumps([scene]), "utf-8")
    flags = [word for option in OPTIONS.values() for word in option.flags]
    assert main(["frame", "s.json", "--to", "frame.png", *flags]) == 0
    check_job(kept)


def test_a_job_has_the_defaults_of_the_options() -> None:
    assert JobOptions() == JobOptions.from_options(RenderOptions())


def test_every_option_is_a_value_or_a_file_of_the_job() -> None:
    values = {field.name for field in fields(JobOptions)}
    assert values | {"caption", *FILES} == RenderOptions.model_fields.keys(), (
        "renderer/job.py: JobOptions has the fields of RenderOptions"
    )


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_survives_the_json_of_the_renderer(name: str) -> None:
    options = JobOptions.from_options(RenderOptions.model_validate({name: VALUES[name]}))
    assert RenderJob.from_json(RenderJob(name="a", options=options).to_json()).options == options
    if name not in FILES:
        assert options != JobOptions.from_options(RenderOptions())


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_survives_the_json_of_journals_and_requests(name: str) -> None:
    values = {name: VALUES[name]}
    options = RenderOptions.model_validate(values)
    assert options.given().keys() == {name, *(CAPTIONS["pop"] if name == "caption" else ())}
    text = options.model_dump_json(exclude_unset=True)
    again = RenderOptions.model_validate_json(text)
    assert again == options
    assert again.given() == options.given()
