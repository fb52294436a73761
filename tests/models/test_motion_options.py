"""Options of movements and fades: values, also as text, and errors that name the option."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from cloudburst import Effect, RenderOptions
from cloudburst.cli.look_options import LookOptions
from cloudburst.errors import ConfigurationError
from cloudburst.models.options import describe_option_errors
from cloudburst.models.video_format import draw_effect


def look(**flags):
    """Return the look options of a command line with these options."""
    given = LookOptions()
    return LookOptions(flags=replace(given.flags, **flags))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("effects", "pan_up, pan_down", (Effect.PAN_UP, Effect.PAN_DOWN)),
        ("motion_amount", "0.5", 0.5),
        ("motion_amount", 0.01, 0.01),
        ("motion_easing", "ease_in_out", "ease_in_out"),
        ("motion_search", "true", True),
        ("panorama", "true", True),
        ("fade_in", "1.5", 1.5),
        ("fade_in", 0, 0),
        ("fade_out", "10", 10),
    ],
)
def test_values(name, value, expected):
    assert getattr(RenderOptions.model_validate({name: value}), name) == expected
    if not isinstance(expected, tuple):
        assert getattr(look(**{name: expected}).options(), name) == (expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("motion_amount", 0.009, "motion_amount is 0.009; expected a number from 0.01 to 0.5"),
        ("motion_amount", "1", "motion_amount is '1'; expected a number from 0.01 to 0.5"),
        ("motion_amount", "nan", "motion_amount is 'nan'; expected a number from 0.01 to 0.5"),
        (
            "motion_easing",
            "bounce",
            "motion_easing is 'bounce'; expected linear, ease_in, ease_out or ease_in_out",
        ),
        ("panorama", "wide", "panorama is 'wide'; expected true or false"),
        ("fade_in", -1, "fade_in is -1; expected a number of seconds from 0 to 10"),
        ("fade_in", "nan", "fade_in is 'nan'; expected a number of seconds from 0 to 10"),
        ("fade_out", 10.1, "fade_out is 10.1; expected a number of seconds from 0 to 10"),
        ("fade_out", "soon", "fade_out is 'soon'; expected a number of seconds from 0 to 10"),
    ],
)
def test_errors_name_the_option(name, value, message):
    with pytest.raises(ValidationError) as raised:
        RenderOptions.model_validate({name: value})
    assert list(describe_option_errors(raised.value)) == [message]


def test_errors_on_the_command_line_name_the_flag():
    with pytest.raises(ConfigurationError, match="--motion-amount is 3; expected a number"):
        look(motion_amount=3).options()


def test_random_has_the_effects_that_it_always_had():
    """A scene keeps its effect when the package has more of them."""
    drawn = [draw_effect([Effect.RANDOM], name) for name in ("scene", "intro", "场景_001", "x y")]
    assert drawn == ["zoom_out", "zoom_in", "zoom_in", "pan_left"]
    names = map(str, range(200))
    assert {draw_effect([Effect.RANDOM], name) for name in names} == {
        *(Effect.ZOOM_IN, Effect.ZOOM_OUT, Effect.PAN_LEFT, Effect.PAN_RIGHT)
    }


@pytest.mark.parametrize(
    ("value", "zooms"), [("true", True), ("false", False), (1, True), (0, False)]
)
def test_zoom_may_be_text(value, zooms):
    effects = RenderOptions.model_validate({"enable_zoom": value}).effects
    assert effects == ((Effect.ZOOM_IN, Effect.ZOOM_OUT) if zooms else ())


def test_zoom_is_true_or_false():
    with pytest.raises(ValidationError) as raised:
        RenderOptions.model_validate({"enable_zoom": "maybe"})
    assert list(describe_option_errors(raised.value)) == [
        "enable_zoom is 'maybe'; expected true or false"
    ]


@pytest.mark.parametrize("value", [["zoom_in"] * 101, ["spin"] * 101, "zoom_in " * 101])
def test_long_lists_of_effects_are_one_error(value):
    with pytest.raises(ValidationError) as raised:
        RenderOptions.model_validate({"effects": value})
    (message,) = describe_option_errors(raised.value)
    assert message == "effects is 101 effects; expected at most 100"
    assert len(RenderOptions.model_validate({"effects": ["zoom_in"] * 100}).effects) == 100
