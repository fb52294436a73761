"""What the public image cannot render is an error before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudburst import Client, RenderOptions, endpoints
from cloudburst.errors import InvalidScenesError
from cloudburst.models.locations import HttpsUrl, S3Object
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.models.task import Protocol
from cloudburst.workers.http.public_image import OPTIONS, find_unsupported
from support.checked_scenes import as_checked
from support.option_values import VALUES

KNOWN: dict[str, Any] = {
    "language": "english",
    "effects": ["pan_left", "random"],
    "watermark": "mark.png",
    "is_portrait": True,
    "background_box": False,
    "background_opacity": 0.5,
    "font_size": 30,
    "outline_color": "&H00FF0000",
}
UNKNOWN = {name: value for name, value in VALUES.items() if name not in OPTIONS}


def checked(**options: Any) -> CheckedScene:
    scene = Scene(name="a", image=Path("a.png"), audio=Path("a.mp3"))
    look = RenderOptions.model_validate(options)
    return as_checked(scene, look)


def test_options_of_the_public_image_are_no_faults() -> None:
    assert KNOWN.keys() == OPTIONS
    assert find_unsupported(checked(**KNOWN), "the image") == []
    assert find_unsupported(checked(), "the image") == []


@pytest.mark.parametrize("option", UNKNOWN)
def test_another_option_is_named_with_the_image(option: str) -> None:
    found = find_unsupported(checked(**KNOWN, **{option: UNKNOWN[option]}), "the image")
    (fault,) = (each for each in found if each.field == f"options.{option}")
    assert len(found) == 1 or option == "caption"  # which stands for other options
    assert fault.scene == "a"
    assert fault.expected == "the default, because the image cannot render anything else"


def test_movements_that_are_new_are_named() -> None:
    (fault,) = find_unsupported(checked(effects=["zoom_in", "pan_up", "pan_down"]), "the image")
    assert (fault.field, fault.found) == ("options.effects", "pan_up, pan_down")


def test_file_of_s3_or_a_web_server_is_a_fault() -> None:
    scene = Scene(name="a", image=S3Object("bucket", "a.png"), audio=HttpsUrl("https://host/a.mp3"))
    look = RenderOptions.model_validate({"watermark": "s3://bucket/mark.png"})
    entry = as_checked(scene, look)
    faults = find_unsupported(entry, "the image")
    assert [fault.field for fault in faults] == ["image", "audio", "watermark"]
    assert faults[0].found == "s3://bucket/a.png"
    expected = "a file on this machine, because the image gets none from S3 and web servers"
    assert {fault.expected for fault in faults} == {expected}


@pytest.mark.anyio
async def test_a_run_with_such_an_option_starts_nothing(
    make_scene: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    scenes = [make_scene("a"), make_scene("b") | {"options": {"fps": 25}}]
    async with Client(endpoints("http://127.0.0.1:1", protocol=Protocol.ONESTEP)) as client:
        with pytest.raises(InvalidScenesError) as raised:
            await client.render_all(scenes, to=tmp_path / "out", options=RenderOptions(title="T"))
    found = sorted((fault.scene, fault.field) for fault in raised.value.faults)
    assert found == [("a", "options.title"), ("b", "options.fps"), ("b", "options.title")]
    assert list((tmp_path / "out").glob("*.mp4")) == []
