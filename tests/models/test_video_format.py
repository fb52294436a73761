"""Sizes and frame rates of videos, as callers write them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cloudburst.models.options import RenderOptions, describe_option_errors
from cloudburst.models.video_format import (
    FRAME_RATES,
    SIZE_NAMES,
    VideoFormat,
    VideoSize,
    fixed_size,
    normalize_size,
    video_size,
)


@pytest.mark.parametrize(
    ("name", "wide", "upright"),
    [
        ("landscape", (1920, 1080), (1920, 1080)),
        ("portrait", (1080, 1920), (1080, 1920)),
        ("square", (1080, 1080), (1080, 1080)),
        ("4:5", (1080, 1350), (1080, 1350)),
        ("720p", (1280, 720), (720, 1280)),
        ("1080p", (1920, 1080), (1080, 1920)),
        ("4k", (3840, 2160), (2160, 3840)),
        ("240x4096", (240, 4096), (240, 4096)),
    ],
)
def test_sizes(name: str, wide: tuple[int, int], upright: tuple[int, int]) -> None:
    assert video_size(name, upright=False) == wide
    assert video_size(name, upright=True) == upright
    assert fixed_size(name) == (wide if wide == upright else None)


@pytest.mark.parametrize(
    ("written", "size"),
    [(name, name) for name in SIZE_NAMES]
    + [(" 4K ", "4k"), ("1280X720", "1280x720"), ("720 × 1280", "720x1280")],
)
def test_a_size_has_one_normal_form(written: str, size: str) -> None:
    assert RenderOptions(size=written).size == normalize_size(size) == size


@pytest.mark.parametrize(
    "size",
    [
        *("", "8k", "x", "1281x720", "238x240", "4098x240", "240x4098", "1920"),
        *("-320x240", "320x240x2", "³²⁰x240", "320x240\n1", 1080, None),
    ],
)
def test_wrong_sizes_name_the_option(size: object) -> None:
    with pytest.raises(ValidationError) as caught:
        RenderOptions.model_validate({"size": size})
    (message,) = describe_option_errors(caught.value)
    assert message.startswith(f"size is {size!r}; expected landscape, portrait, ")
    assert "4096" in message


@pytest.mark.parametrize("fps", [*FRAME_RATES, *map(str, FRAME_RATES)])
def test_frame_rates(fps: object) -> None:
    assert RenderOptions.model_validate({"fps": fps}).fps == int(str(fps))


@pytest.mark.parametrize("fps", [0, 23.976, 29, "30.5", 120, -30, None, "fast"])
def test_wrong_frame_rates_name_the_option(fps: object) -> None:
    with pytest.raises(ValidationError) as caught:
        RenderOptions.model_validate({"fps": fps})
    (message,) = describe_option_errors(caught.value)
    assert message == f"fps is {fps!r}; expected one of 24, 25, 30, 50, 60"


@pytest.mark.parametrize(
    ("size", "is_portrait", "expected"),
    [
        ("landscape", True, "a portrait size"),
        ("square", True, "a portrait size"),
        ("1280x720", "true", "a portrait size"),
        ("portrait", False, "a size that is not portrait"),
        ("4:5", "false", "a size that is not portrait"),
    ],
)
def test_size_and_orientation_must_not_contradict_each_other(
    size: str, is_portrait: object, expected: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        RenderOptions.model_validate({"size": size, "is_portrait": is_portrait})
    (message,) = describe_option_errors(caught.value)
    given = str(is_portrait).lower()
    found = f"size is {size} and is_portrait is {given}"
    assert message == f"{found}; expected {expected}, or no is_portrait"


@pytest.mark.parametrize(
    ("size", "is_portrait"),
    [("landscape", False), ("square", False), ("portrait", True), ("4:5", True), ("4k", True)],
)
def test_size_and_orientation_may_agree(size: str, is_portrait: bool) -> None:
    assert RenderOptions(size=size, is_portrait=is_portrait).size == size


def test_the_pixel_rate_is_relative_to_that_of_default_videos() -> None:
    assert VideoFormat(VideoSize(1920, 1080)).pixel_rate == 1
    assert VideoFormat(VideoSize(3840, 2160), 60).pixel_rate == 8
    assert VideoFormat(VideoSize(540, 480), 24).pixel_rate == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"focus": "0.25 1"}, (0.25, 1.0)),
        ({"focus": "0.25,1"}, (0.25, 1.0)),
        ({"focus": [0, 0.5]}, (0.0, 0.5)),
        ({"backdrop": " #FFaa00"}, "#ffaa00"),
        ({"backdrop": "BLUR"}, "blur"),
        ({"fit": "contain"}, "contain"),
    ],
)
def test_fit_backdrop_and_focus(options: dict[str, object], expected: object) -> None:
    (name,) = options
    assert getattr(RenderOptions.model_validate(options), name) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"focus": focus}
            for focus in ("0.5", "0.5 1.1", "-0.1 0", "0 0 0", "nan 0", "a b", None)
        ),
        *({"backdrop": colour} for colour in ("red", "#ff0000aa", "#ff000", "", None)),
        *({"fit": fit} for fit in ("fill", "", None)),
    ],
)
def test_wrong_values_name_the_option(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        RenderOptions.model_validate(wrong)
    messages = list(describe_option_errors(caught.value))
    (name,) = wrong
    expected = {
        "focus": "two numbers from 0 to 1, across and down, such as 0.5 0.25",
        "backdrop": "blur, or a colour such as #ff0000",
        "fit": "cover or contain",
    }
    assert messages
    for message in messages:
        assert message.startswith(f"{name} is ")
        assert message.endswith(f"; expected {expected[name]}")
