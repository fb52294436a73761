"""Values that cross borders."""

from __future__ import annotations

import inspect
import itertools
import pickle
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudburst import Effect, Limits, RenderOptions, Scene, Settings, Tier, Timeouts
from cloudburst.errors import ConfigurationError
from cloudburst.models.limits import Backoff
from cloudburst.models.scene import MAX_NAME_BYTES, fold_name, validate_scene_name
from cloudburst.models.tier import encoder_slots

SLOT_MB, SERVICE_MB = 1222, 150
"""What a render holds at most, which is with a PNG of 100 megapixels and transparency, and what is
left for the service itself: ``nox -s bench -- slots``."""

FILES = {"image_path": "a.png", "audio_path": "a.mp3"}


def test_the_old_client_s_dictionary_validates_as_it_is():
    scene = Scene.model_validate(
        {"scene_name": "场景_001", **FILES, "subtitle_path": "a.srt"},
    )
    assert scene == Scene(
        name="场景_001", image=Path("a.png"), audio=Path("a.mp3"), subtitle=Path("a.srt")
    )


@pytest.mark.parametrize("nothing", [{}, {"subtitle_path": None}, {"subtitle_path": ""}])
def test_no_subtitle_can_be_said_in_three_ways(nothing):
    assert Scene.model_validate({"scene_name": "a", **FILES, **nothing}).subtitle is None


@pytest.mark.parametrize(
    "name",
    [
        *("a", "场景_001", "Çà et là", "01-harbour", "x.y", "é" * 90),
        *("می\u200cخواهم", "क्\u200dष", "👩\u200d👩\u200d👧", "❤️", "naïve\u00a0space"),
        *("-rf", "~", "=1+1", "@x", "$(id)", "clock$", "com0", "console", "conin", "icon.x"),
    ],
)
def test_names_of_any_letters(name):
    assert validate_scene_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "../a", "a/b", "a\\b", "a\x00b", "a\nb", ".hidden", "a.", "a "),
        *(
            "a\u202eb",
            "a\u200b",
            "\ufeffa",
            "a\u2028b",
            "a\u2029b",
            "a\u0085b",
            "a\x9bb",
            "a\u00adb",
        ),
        *("a\u2066b", "\u200d", " \u200c\u200d"),
        *("COM¹", "lpt³.x", "conin$", "CONOUT$", "CON .txt", "aux   .a.b", "Com1 .x", "NUL.. x"),
        *("CON", "nul.txt", "a:b", "a*b", "a?", "x" * (MAX_NAME_BYTES + 1), "汉" * 67, "\ud800"),
    ],
)
def test_names_that_are_no_file_names(name):
    with pytest.raises(ValidationError):
        Scene.model_validate({"scene_name": name, **FILES})


def test_a_character_that_cannot_be_seen_is_named():
    with pytest.raises(ValueError, match=r"without U\+202E \(RIGHT-TO-LEFT OVERRIDE\)"):
        validate_scene_name("gnp\u202e.exe")
    with pytest.raises(ValueError, match=r"without U\+0085 \(a control character\)"):
        validate_scene_name("a\u0085")


def test_names_that_a_file_system_takes_for_one_are_folded_to_one():
    assert fold_name("a\u200db") == fold_name("AB")
    assert fold_name("STRASSE") == fold_name("straße")
    assert fold_name("a b") != fold_name("ab")


def test_models_are_frozen():
    scene = Scene.model_validate({"scene_name": "a", **FILES})
    with pytest.raises(ValidationError):
        scene.name = "b"


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="subtitles"):
        Scene.model_validate({"scene_name": "a", **FILES, "subtitles": "a.srt"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"language": "klingon"},
        {"background_opacity": 1.1},
        {"background_opacity": -0.1},
        {"outline_color": "red"},
        {"outline_color": "&H0000000"},
        {"effects": ["spin"]},
        {"effects": [], "enable_zoom": True},
        {"font_size": 0},
        {"zoom": True},
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(ValidationError):
        RenderOptions.model_validate(wrong)


def test_enable_zoom_is_the_old_word_for_two_effects():
    assert RenderOptions(enable_zoom=True).effects == (Effect.ZOOM_IN, Effect.ZOOM_OUT)
    assert RenderOptions(enable_zoom=False).effects == ()


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from(Effect), unique=True).map(tuple),
)
def test_the_effect_of_a_scene_is_drawn_once_for_all(name, effects):
    options = RenderOptions(effects=effects)
    effect = options.effect_for(name)
    assert effect == options.effect_for(name)
    assert (effect is None) == (not effects)
    assert effect is not Effect.RANDOM
    assert effect is None or Effect.RANDOM in effects or effect in effects


def test_both_zooms_occur():
    drawn = {RenderOptions().effect_for(f"scene {i}") for i in range(50)}
    assert drawn == {Effect.ZOOM_IN, Effect.ZOOM_OUT}


@pytest.mark.parametrize(
    ("priority", "name", "vcpu", "memory"),
    [
        (1, "STANDARD", 2, 4),
        (2, "HIGH_PERFORMANCE", 4, 8),
        (3, "ULTRA_PERFORMANCE", 8, 16),
        (4, "MAXIMUM_PERFORMANCE", 16, 32),
        (5, "ECONOMY", 1, 2),
    ],
)
def test_tiers(priority, name, vcpu, memory):
    tier = Tier.by_priority(priority)
    assert (tier.name, tier.vcpu, tier.memory_gb) == (name, vcpu, memory)


@pytest.mark.parametrize("priority", [0, 6, -1])
def test_no_such_tier(priority):
    with pytest.raises(ValueError, match="expected one of 1"):
        Tier.by_priority(priority)


@pytest.mark.parametrize("tier", list(Tier))
def test_a_task_encodes_as_many_scenes_as_it_has_cores_and_memory_for(tier):
    slots = encoder_slots(tier.vcpu)
    # Fewer leave cores idle: a scene alone uses 1.3 of them.
    assert slots * 1.3 >= tier.vcpu
    assert slots * SLOT_MB + SERVICE_MB < tier.memory_gb * 1024


def test_a_machine_without_a_whole_core_encodes_one_scene():
    assert encoder_slots(0) == 1


@given(
    first=st.floats(0.01, 5),
    factor=st.floats(1, 4),
    cap=st.floats(0.01, 60),
    seed=st.integers(),
)
def test_delays_are_bounded_by_ceilings_that_grow(first, factor, cap, seed):
    delays = Backoff(first=first, factor=factor, cap=cap).delays(random.Random(seed))
    ceiling = min(first, cap)
    for delay in itertools.islice(delays, 50):
        assert 0 <= delay <= ceiling <= cap
        ceiling = min(cap, ceiling * factor)


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        (Timeouts, {"call": 0}),
        (Timeouts, {"scene": -1}),
        (Limits, {"workers": 0}),
        (Limits, {"idle": -1}),
        (Limits, {"lanes": 0}),
        (Backoff, {"factor": 0.5}),
        (Limits, {"worker": 1}),
    ],
)
def test_policies_check_their_numbers(policy, wrong):
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}: .*; expected "):
        policy(**wrong)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_SUBNET_ID", "subnet-1, subnet-2,")
    assert Settings().subnets == ("subnet-1", "subnet-2")


@pytest.mark.parametrize("name", ["watermark", "watermark_path", "music", "title"])
def test_an_empty_text_replaces_the_value_of_the_run_by_none(name):
    run = RenderOptions.model_validate({name: "a.file"})
    scene = RenderOptions.model_validate({name: ""})
    assert run.overridden_by(scene) == RenderOptions()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scene(name="a", titel="b"), "titel: an unknown field; expected title"),
        (lambda: Scene(image="a.png"), "name: nothing; expected a value"),
        (lambda: Scene(name=1), "name: 1; expected a text"),
        (lambda: Scene(name="a", duration="x"), "duration: 'x'; expected a number"),
        (lambda: Scene(name="a", options={"fps": 7}), "options.fps: 7; expected one of 24, 25"),
        (lambda: Scene(name="a"), "scene: neither image nor title_card is given; expected one"),
        (lambda: RenderOptions(fsp=30), "fsp is not an option; expected one of animation"),
        (lambda: RenderOptions(size="x", bold=7), "bold is 7; expected .*; size is 'x'; expected"),
        (lambda: Limits(worker=1), "worker: an unknown field; expected workers"),
        (lambda: Timeouts(call="x"), "call: 'x'; expected a number"),
        (lambda: Settings(capacity="SPOT"), "capacity: expected 'FARGATE' or 'FARGATE_SPOT'"),
        (lambda: Settings(idle=0), "idle: expected greater than 0"),
        (lambda: Settings(endpoint_url="http://["), "endpoint_url: Invalid IPv6 URL; expected an"),
    ],
)
def test_a_wrong_argument_is_an_error_of_ours_in_our_words(make, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        make()
    text = str(caught.value)
    assert not re.search("Input should|Extra inputs|Value error|pydantic|validation error", text)
    assert make.__name__ == caught.traceback[1].name


def test_a_valid_scene_is_made_of_what_pydantic_dumps():
    scene = Scene(name="a", image="a.png", duration=1, options={"fps": 25})
    assert Scene.model_validate(scene.model_dump()) == scene
    assert pickle.loads(pickle.dumps(scene)) == scene
    assert str(inspect.signature(Limits)).startswith("(*, workers: ")
