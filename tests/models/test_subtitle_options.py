"""Options of the look of subtitles: values, also as text, paths of fonts, and errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst import RenderOptions, read_scenes
from cloudburst.cli.look_options import LookOptions
from cloudburst.errors import ConfigurationError
from cloudburst.models.options.subtitles import CAPTIONS


def look(**flags):
    """Return the look options of a command line with these options."""
    given = LookOptions()
    return LookOptions(flags=replace(given.flags, **flags))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("font", "Noto Sans CJK HK", "Noto Sans CJK HK"),
        ("font", "fonts/a.ttf", Path("fonts/a.ttf")),
        ("font", "a.ttf, Noto Sans CJK JP", (Path("a.ttf"), "Noto Sans CJK JP")),
        ("text_color", "#FFEE00", "#ffee00"),
        ("outline_color", "#ff8000", "&H000080FF"),
        ("outline_color", "#ff800040", "&HBF0080FF"),
        ("outline_color", "&Habcdef01", "&Habcdef01"),
        ("outline_width", "0.1", 0.1),
        ("shadow", "0.05", 0.05),
        ("shadow_color", "#00000000", "#00000000"),
        ("box_color", "#123456", "#123456"),
        ("shadow_blur", "0.25", 0.25),
        ("box_padding", "0.5, 0", (0.5, 0.0)),
        ("box_radius", "0.5", 0.5),
        ("subtitle_lines", "3", 3),
        ("words_at_once", "1", 1),
        ("animation", "pop", "pop"),
        ("subtitle_position", "top-right", "top-right"),
        ("subtitle_margin", "0.1 0.2", (0.1, 0.2)),
        ("subtitle_width", "0.5", 0.5),
    ],
)
def test_values_are_the_same_as_text_and_on_the_command_line(name, value, expected):
    assert getattr(RenderOptions.model_validate({name: value}), name) == expected
    given = type(expected)(value) if isinstance(expected, float | int) else value
    assert getattr(look(**{name: given}).options(), name) == expected


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_the_path_of_a_font_is_relative_to_the_file_of_the_scenes(tmp_path, suffix):
    values = {"a": "fonts/a", "b": "B.TTF", "c": "Noto Sans CJK JP", "d": "Noto Sans CJK JP, d.otf"}
    if suffix == "csv":
        rows = [f'{name},{name}.png,{name}.mp3,"{font}"' for name, font in values.items()]
        text = "\n".join(["name,image,audio,font", *rows])
    else:
        text = json.dumps([{"name": name, "options": {"font": f}} for name, f in values.items()])
    (tmp_path / f"scenes.{suffix}").write_text(text)
    found = [scene["options"]["font"] for scene in read_scenes(tmp_path / f"scenes.{suffix}")]
    one = [[f"{tmp_path}/fonts/a"], [f"{tmp_path}/B.TTF"], ["Noto Sans CJK JP"]]
    assert found == [*one, ["Noto Sans CJK JP", f"{tmp_path}/d.otf"]]


def test_a_comma_in_the_name_of_the_folder_is_no_further_font(tmp_path):
    folder = tmp_path / "a,b"
    folder.mkdir()
    (folder / "scenes.json").write_text(json.dumps([{"name": "a", "options": {"font": "c.ttf"}}]))
    (scene,) = read_scenes(folder / "scenes.json")
    options = RenderOptions.model_validate(scene["options"])
    assert options.fonts() == {"font": folder / "c.ttf", "font-2": "Noto Sans CJK SC"}
    again = RenderOptions.model_validate(options.model_dump(mode="json", exclude_unset=True))
    assert again == options


def test_fonts_are_in_order_with_a_family_and_by_role():
    fonts = RenderOptions(font=["b.ttf", "Noto Sans CJK HK", "a.ttf"]).fonts()
    assert fonts == {"font": Path("b.ttf"), "font-2": "Noto Sans CJK HK", "font-3": Path("a.ttf")}
    fonts = RenderOptions(font=["b.ttf", "a.ttf"]).fonts()
    assert [*fonts.values()] == [Path("b.ttf"), Path("a.ttf"), "Noto Sans CJK SC"]
    for nothing in (None, [], ()):
        assert RenderOptions(font=nothing).fonts() == {"font": "Noto Sans CJK SC"}


def test_fonts_survive_json():
    given = RenderOptions(font="/a.ttf, s3://bucket/b.ttf, Noto Sans CJK KR")
    assert RenderOptions.model_validate_json(given.model_dump_json(exclude_unset=True)) == given


@pytest.mark.parametrize(
    ("fonts", "found"),
    [
        ("a.ttf, Arial", "Arial"),
        (["Noto Sans CJK SC", ""], "''"),
        (["a.ttf"] * 5, "5 fonts"),
        ([["a.ttf"]], "['a.ttf']"),
        ("s3://a.ttf, b.ttf", "s3://a.ttf"),
    ],
)
def test_a_wrong_list_of_fonts_is_one_error(fonts, found):
    with pytest.raises(ConfigurationError) as caught:
        RenderOptions(font=fonts)
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(("text_color", value) for value in ("red", "#fff", "#ff00000", "", None, 5, "#ff0000\n")),
        *(("outline_color", value) for value in ("#fff", "&H0000000", "&H000000000", "#00 000")),
        *(("box_color", value) for value in ("&H00000000", "transparent")),
        *(("outline_width", value) for value in (-0.01, 0.21, "thick", float("nan"))),
        *(("shadow", value) for value in (-0.01, 0.21, float("inf"), None)),
        ("shadow_color", "black"),
        *(("subtitle_position", value) for value in ("middle", "bottom_left", "", 2)),
        *(("subtitle_margin", value) for value in (0.1, "0.1", (0.1, 0.5), (-0.1, 0), "a b")),
        *(("subtitle_width", value) for value in (0.1, 1.1, "all")),
        *(
            ("box_padding", value)
            for value in (0.1, "0.1", (0, -1), (0, 3), "1 1 1", ("a", 0), None)
        ),
    ],
)
def test_values_that_are_wrong_are_errors_of_the_option(option, wrong):
    with pytest.raises(ValueError, match=option):
        RenderOptions.model_validate({option: wrong})


@pytest.mark.parametrize(
    ("value", "is_path"),
    [
        ("a.ttf", True),
        ("a.OTF", True),
        ("fonts/a", True),
        ("C:\\fonts\\a", True),
        (Path("/a"), True),
        ("Noto Sans CJK JP", False),
        (None, False),
    ],
)
def test_a_font_is_a_family_or_a_path(value, is_path):
    options = RenderOptions(font=value)
    assert options.files() == ({"font": Path(value)} if is_path else {})
    again = RenderOptions.model_validate_json(options.model_dump_json(exclude_unset=True))
    assert again.files() == options.files()


@pytest.mark.parametrize("family", ["Arial", "Noto Sans Arabic", "noto sans", "", 5, "ttf"])
def test_a_family_that_is_not_known_is_an_error_with_those_that_are(family):
    with pytest.raises(ConfigurationError) as caught:
        RenderOptions(font=family)
    text = str(caught.value)
    assert text.startswith(f"font is {family!r}; expected Noto Sans CJK SC, Noto Sans CJK TC, ")
    assert text.endswith("; installed fonts are found by themselves")


@pytest.mark.parametrize("caption", CAPTIONS)
def test_a_caption_is_a_set_of_options_of_which_given_ones_have_the_given_values(caption):
    named = RenderOptions(caption=caption)
    assert {name: getattr(named, name) for name in CAPTIONS[caption]} == CAPTIONS[caption]
    own = {"background_box": True, "words_at_once": 5, "highlight_color": "#123456"}
    mixed = RenderOptions(caption=caption, **own)
    expected = {**CAPTIONS[caption], **own}
    assert {name: getattr(mixed, name) for name in expected} == expected


def test_all_captions_set_the_same_options():
    first, *others = (options.keys() for options in CAPTIONS.values())
    assert all(names == first for names in others)


def test_the_caption_of_a_scene_replaces_that_of_the_run():
    run = RenderOptions(caption="pop", font_size=30, language="english")
    assert run.overridden_by(RenderOptions()) == run
    scene = run.overridden_by(RenderOptions(caption="classic"))
    assert scene == RenderOptions(caption="classic", font_size=30, language="english")
    scene = run.overridden_by(RenderOptions(highlight="box"))
    assert scene == RenderOptions(caption="pop", font_size=30, language="english", highlight="box")


@pytest.mark.parametrize("how", [{}, {"exclude_unset": True}, {"mode": "json"}])
def test_a_caption_and_given_options_survive_the_ways_in_which_options_are_stored(how):
    options = RenderOptions(caption="pop", background_box=True, words_at_once=0)
    again = RenderOptions.model_validate(options.model_dump(**how))
    assert again == options
    assert again.overridden_by(RenderOptions(caption="karaoke")) == options.overridden_by(
        RenderOptions(caption="karaoke")
    )


def test_options_that_are_not_given_are_the_default():
    assert RenderOptions().model_dump(exclude_defaults=True) == {}
    assert RenderOptions().model_dump(mode="json", exclude_defaults=True) == {}
