"""Bad values of render options, in every way of giving them: what the error says, and what starts.

An error names the scene, if there is one, and the option, and says what was found and what is
valid. Nothing is started.
"""

from __future__ import annotations

import csv
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from cloudburst import Client, FargateOperationV1, RenderOptions, read_scenes
from cloudburst.cli import main
from cloudburst.cli.backend_options import BackendOptions
from cloudburst.errors import ConfigurationError, InvalidScenesError
from cloudburst.models.limits import Limits
from cloudburst.text import short_repr
from support.old_calls import Account, account

pytestmark = pytest.mark.anyio

MAX_CPU_SECONDS = 2.0
"""CPU time in which an error must be found."""
MAX_ERROR_CHARS = 2000
"""Maximum length of the message of one error: found values are cut."""
HUGE = 10**5000
"""Whole number with more digits than Python converts to text."""

SIZE = "WIDTHxHEIGHT with even numbers from 240 to 4096"
EFFECTS = "a list of up to 100 of zoom_in, zoom_out"
COLOUR = "a colour such as #"
POSITION = "one of top-left, top, top-right"
SHARES = "two numbers from 0 to 1"
BOOL = "true or false"
TEXTS = "500 characters in one line for each of album, album_artist"
TITLE = "a text of at most 200 characters in one line"


class Bad(NamedTuple):
    """A bad value of one option."""

    option: str
    value: Any
    valid: str
    """Part of the error that says what is valid."""
    found: str = ""
    """Part of the error that says what was found, if it is not the value as Python writes it."""


VALUES = [
    *(Bad("size", value, SIZE) for value in ("", "huge", "1920", "321x240", "238x240")),
    *(Bad("size", value, SIZE) for value in ("4098x2160", "1920x1080x2", "-320x240", "320*240")),
    *(Bad("size", value, SIZE) for value in ("320x240x", 1080, [320, 240], True, None)),
    *(Bad("fps", value, "one of 24, 25, 30, 50, 60") for value in ("", 0, -30, 29.97, 23, "fast")),
    *(Bad("fps", value, "one of 24, 25") for value in (True, None, math.nan, math.inf, "1e9")),
    Bad("fps", HUGE, "one of 24, 25", "int"),
    Bad("fps", "9" * 5000, "one of 24, 25", "99999"),
    *(Bad("is_portrait", value, "true, false or nothing") for value in ("tall", 2, "", [])),
    *(Bad("fit", value, "cover or contain") for value in ("", "stretch", "COVER", None, 1)),
    *(Bad("backdrop", value, "blur, or a colour") for value in ("", "red", "#fff", "#ff000080")),
    *(Bad("backdrop", value, "blur, or a colour") for value in ("blur\0", None, 0)),
    *(Bad("focus", value, SHARES) for value in ("", "0.5", "0 0 0", "0 2", "0 -1", "0 nan")),
    *(Bad("focus", value, SHARES) for value in ("0 top", 0.5, None, [0] * 200_000)),
    Bad("focus", [[0, 0], 1], SHARES, "[0, 0]"),
    Bad("focus", [0.5, math.inf], SHARES, "inf"),
    *(Bad("effects", value, EFFECTS) for value in ("spin", "zoom_in pan", 5, None, {})),
    Bad("effects", [["zoom_in"]], EFFECTS, "['zoom_in']"),
    Bad("effects", ["zoom_in", None], EFFECTS, "None"),
    Bad("effects", ["spin"] * 200_000, "at most 100", "200000 effects"),
    *(Bad("enable_zoom", value, BOOL) for value in ("maybe", "", 2, [], None)),
    *(Bad("motion_amount", value, "from 0.01 to 0.5") for value in ("", 0, 0.51, "10%", "-0.1")),
    *(Bad("motion_amount", value, "from 0.01 to 0.5") for value in ("nan", "inf", None, [0.1])),
    *(Bad("motion_easing", value, "linear, ease_in") for value in ("", "bounce", "ease-in", 1)),
    *(Bad("motion_search", value, BOOL) for value in ("", "fast", 2, None, {})),
    *(Bad("panorama", value, BOOL) for value in ("", "wide", 2, None, {})),
    *(
        Bad(option, value, "a number of seconds from 0 to 10")
        for option in ("fade_in", "fade_out")
        for value in ("", -1, 10.1, "1s", "inf", math.nan, None, True)
    ),
    *(Bad("caption", value, "classic, karaoke or pop") for value in ("", "Pop", "tiktok", 1, [])),
    *(Bad("bold", value, BOOL) for value in ("", "heavy", 2)),
    *(Bad("uppercase", value, BOOL) for value in ("", "small", 2, None)),
    *(Bad("language", value, "chinese or english") for value in ("", "en", "English", None)),
    *(Bad("background_box", value, BOOL) for value in ("", "blue", 2, None)),
    *(Bad("background_opacity", value, "0 (black) to 1") for value in ("", -0.1, 1.1, "nan")),
    *(Bad("background_opacity", value, "0 (black) to 1") for value in ("50%", "0,5", None)),
    *(Bad("font", value, "Noto Sans CJK SC") for value in ("", "Arial", "noto sans cjk sc", 5)),
    *(Bad("font_size", value, "a whole number from 8 to 200") for value in (7, 201, 20.5, "")),
    *(Bad("font_size", value, "from 8 to 200") for value in ("20px", "1e1", "inf", True)),
    *(
        Bad(option, value, COLOUR)
        for option in ("text_color", "shadow_color", "box_color", "highlight_color")
        for value in ("", "red", "#fff", "#ff00000", "ff0000", "#gg0000", 0xFF0000, "#ff0000\n")
    ),
    *(Bad("outline_color", value, "&HAABBGGRR") for value in ("", "black", "&H00", "&H0000000g")),
    *(Bad("outline_width", value, "from 0 to 0.2") for value in ("", -0.01, 0.3, "thick", "nan")),
    *(Bad("shadow", value, "from 0 to 0.2") for value in ("", -0.01, 0.3, "soft", "nan", None)),
    *(Bad("shadow_blur", value, "from 0 to 0.5") for value in ("", -0.1, 0.6, "soft", "nan", None)),
    *(Bad("box_radius", value, "from 0 to 1") for value in ("", -0.1, 1.1, "round", "nan", None)),
    *(
        Bad(option, value, "a whole number from 0 to 10")
        for option in ("subtitle_lines", "words_at_once")
        for value in ("", -1, 11, 1.5, "two", True, None)
    ),
    *(Bad("animation", value, "none or pop") for value in ("", "fade", 1, None)),
    *(Bad("box_padding", value, "two numbers from 0 to 2") for value in ("", "1", "1 1 1", "0 3")),
    *(Bad("box_padding", value, "two numbers from 0 to 2") for value in (None, 1, "0 nan")),
    *(
        Bad(option, value, POSITION)
        for option in ("subtitle_position", "watermark_position")
        for value in ("", "middle", "top left", "Top", None, 5)
    ),
    *(Bad("subtitle_margin", value, "two numbers from 0 to 0.4") for value in ("", "0.1", "0 1")),
    *(Bad("subtitle_margin", value, "two numbers from 0 to 0.4") for value in ("0 nan", 0.1)),
    *(Bad("subtitle_width", value, "from 0.2 to 1") for value in ("", 0.1, 1.1, "80%", "nan")),
    *(Bad("highlight", value, "none, color, box or grow") for value in ("", "yes", "colour", None)),
    *(Bad("music", value, "the path or URL of an audio file") for value in (5, ["a.mp3"], {})),
    *(Bad("music_volume", value, "from 0 to 1") for value in ("", -0.1, 1.1, "nan", "50%")),
    *(Bad("music_volume", value, "from 0 to 1") for value in (True, None)),
    *(Bad("music_loop", value, BOOL) for value in ("", "twice", 2, None)),
    *(Bad("music_fade", value, "of seconds from 0 to 60") for value in ("", -1, 61, "inf", "2s")),
    *(Bad("music_ducking", value, "of dB from 0 to 40") for value in ("", -1, 41, "12dB", "nan")),
    *(Bad("loudness", value, "LUFS from -40 to -5") for value in ("", -41, -4, 16, "nan", "-inf")),
    *(Bad("watermark", value, "the path or URL of a picture") for value in (5, ["a.png"], {})),
    *(Bad("watermark_width", value, "from 0.02 to 1") for value in ("", 0, 1.1, 240, "nan")),
    *(Bad("watermark_margin", value, "from 0 to 500") for value in ("", -1, 501, "5%", "nan")),
    *(Bad("watermark_opacity", value, "0 (invisible) to 1") for value in ("", -0.1, 2, "nan")),
    *(Bad("title", value, TITLE) for value in ("a\0b", "a\nb", "\x1b[2J", "a\u2028b", 7, ["a"])),
    Bad("title", "t" * 201, TITLE, "ttttt"),
    Bad("metadata", "artist", "a name with a text, such as artist=Me"),
    Bad("metadata", "lens=50", "one of the names album, ", "'lens'"),
    Bad("metadata", "=a", "one of the names album, ", "''"),
    Bad("metadata", "date=1;date=2", "each name once", "'date=2'"),
    Bad("metadata", 7, TEXTS),
    Bad("metadata", {"lens": "50 mm"}, "one of the names album, ", "'lens'"),
    Bad("metadata", {"artist": "a\rb"}, TEXTS, "'a\\rb'"),
    Bad("metadata", {"artist": "a" * 501}, TEXTS, "aaaaa"),
    Bad("metadata", {"artist": ["a", "b"]}, TEXTS, "['a', 'b']"),
    Bad("metadata", {"language": "English"}, "a code of three letters", "language='English'"),
    Bad("metadata", {f"name {n}": "" for n in range(20_000)}, TEXTS, "name "),
    *(Bad("cover", value, BOOL) for value in ("", "cover.jpg", 2, None)),
    Bad("watermak", "a.png", "watermark", "not an option"),
    Bad("glow", "#ffffff", "one of animation, backdrop, background_box", "not an option"),
    Bad("x" * 100_000, 1, "one of animation, backdrop", "not an option"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are read in threads


@pytest.fixture
def scene(
    tmp_path: Path, make_scene: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return make_scene("one", seconds=0.1)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Account in which everything renders; at the end, nothing was started in it."""
    made = account(monkeypatch)
    monkeypatch.setattr(BackendOptions, "open_backend", lambda *_, **__: made.backend)
    yield made
    assert not made.launched


@contextmanager
def soon() -> Iterator[None]:
    """Assert that the block takes little CPU time."""
    start = time.process_time()
    yield
    assert time.process_time() - start < MAX_CPU_SECONDS


def check(message: str, bad: Bad, *places: str) -> None:
    """Assert that an error has one line, or a few, that name the option, and all that it says."""
    found = bad.found or (repr(bad.value) if bad.option not in LISTS else wrong_part(bad.value))
    for part in (*places, bad.option[:30], found, bad.valid):
        assert part in message, message
    assert len(message) < MAX_ERROR_CHARS
    assert message.isprintable()


def test_every_option_has_a_bad_value() -> None:
    known = {bad.option for bad in VALUES}
    assert RenderOptions.model_fields.keys() <= known, "add bad values to VALUES"


LISTS = ("effects", "focus", "box_padding", "subtitle_margin")


def wrong_part(value: object) -> str:
    """Return what an error says of a list, or of a text that is one: its last part, or all."""
    parts = str(value).split()
    if isinstance(value, str):
        return repr(parts[-1] if len(parts) == 2 or value == "spin" else parts)
    return short_repr(value, 100)


async def rendered(cloud: Account, scenes: Any, options: RenderOptions | None = None) -> str:
    """Return the message of the error that a client raises for the scenes."""
    with pytest.raises(InvalidScenesError) as caught, soon():
        async with Client(cloud.backend, options=options, limits=Limits()) as client:
            await client.render_all(scenes, to="out")
    return str(caught.value)


def of_option(bads: Iterable[Bad]) -> dict[str, list[Bad]]:
    """Return the bad values by the name of their option, which is cut."""
    found: dict[str, list[Bad]] = {}
    for bad in bads:
        found.setdefault(bad.option[:30], []).append(bad)
    return found


async def check_scenes(
    bads: Sequence[Bad], cloud: Account, scenes: Sequence[Mapping[str, Any]]
) -> None:
    """Render scenes, each of which has one bad value, and a good one; check the fault of each."""
    good = {**scenes[0], "scene_name": "good", "options": {}}
    messages: dict[str, str] = {}
    for line in (await rendered(cloud, [good, *scenes])).splitlines():
        name = line.partition(":")[0]
        assert name not in messages, line
        messages[name] = line
    assert list(messages) == [scene["scene_name"] for scene in scenes]
    for scene, bad in zip(scenes, bads, strict=True):
        message = messages[scene["scene_name"]]
        if first := re.search(r"expected as for (\w+) above$", message):
            message = message.replace(first[0], messages[first[1]].partition("; ")[2])
        check(message, bad, f"{scene['scene_name']}: options")


def scenes_of(bads: Sequence[Bad], scene: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a scene for each bad value."""
    return [
        {**scene, "scene_name": f"s{number}", "options": {bad.option: bad.value}}
        for number, bad in enumerate(bads)
    ]


async def test_a_bad_option_in_scenes_is_named(cloud: Account, scene: dict[str, Any]) -> None:
    await check_scenes(VALUES, cloud, scenes_of(VALUES, scene))


TEXTS_IN_FILES = [bad for bad in VALUES if isinstance(bad.value, str)]


async def test_a_bad_option_in_csv_is_named(
    cloud: Account, scene: dict[str, Any], tmp_path: Path
) -> None:
    bads = [bad for bad in TEXTS_IN_FILES if bad.value and bad.value.isprintable()]
    known = [bad for bad in bads if bad.found != "not an option"]
    columns = [*scene, *of_option(known)]
    with (tmp_path / "s.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in scenes_of(known, scene):
            writer.writerow(row | row.pop("options"))
    await check_scenes(known, cloud, read_scenes(tmp_path / "s.csv"))


@pytest.mark.parametrize("column", ["watermak", "options", "x" * 1000])
def test_unknown_columns(column: str, scene: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(f"{','.join(scene)},{column}\n{','.join(scene.values())},1")
    with pytest.raises(ConfigurationError, match=r"s.csv, line 1: an unknown column ") as caught:
        read_scenes(tmp_path / "s.csv")
    assert column[:20] in str(caught.value)
    assert len(str(caught.value)) < MAX_ERROR_CHARS


async def test_a_bad_option_in_yaml_is_named(
    cloud: Account, scene: dict[str, Any], tmp_path: Path
) -> None:
    """A value may be quoted, and then empty or with escaped control characters."""
    text = yaml.safe_dump(scenes_of(TEXTS_IN_FILES, scene))
    (tmp_path / "s.yaml").write_text(text, "utf-8")
    await check_scenes(TEXTS_IN_FILES, cloud, read_scenes(tmp_path / "s.yaml"))


IN_CALLS = of_option(
    bad
    for bad in VALUES
    if bad.option not in {"enable_zoom", "language"}  # parameters of the call
    # An empty value means the orientation of the picture.
    and (bad.value or bad.option not in {"watermark", "is_portrait"})
)


@pytest.mark.parametrize("bads", IN_CALLS.values(), ids=IN_CALLS)
async def test_a_bad_option_in_old_calls_is_named(
    bads: list[Bad], cloud: Account, scene: dict[str, Any]
) -> None:
    for bad in bads:
        with pytest.raises(ConfigurationError) as caught, soon():
            await FargateOperationV1().execute_batch([scene], **{bad.option: bad.value})
        check(str(caught.value), bad)


FLAGS = of_option(
    bad
    for bad in VALUES
    if isinstance(bad.value, str | int | float)
    and not isinstance(bad.value, bool)
    and bad.value is not HUGE
    and bad.valid != BOOL
    and bad.option not in {"is_portrait", "effects", "enable_zoom", "watermark", "music", "title"}
    and bad.found != "not an option"
    and "\0" not in str(bad.value)
    and bad.value != "date=1;date=2"  # one text, because the flag can be repeated
)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the command line has printed, without the borders of its boxes."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).replace("│", " ").split())


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("bads", FLAGS.values(), ids=FLAGS)
def test_a_bad_option_on_the_command_line_is_named(
    bads: list[Bad], cloud: Account, scene: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.json").write_text(json.dumps([scene]), "utf-8")
    for bad in bads[:3]:
        flag = f"--{bad.option.replace('_', '-')}"
        with soon():
            assert main(["render", "s.json", "--to", "out", f"{flag}={bad.value}"]) == 2
        message = said(capsys)
        assert flag in message
        found = bad.found or f"{bad.value}".strip()[:20].split(" ")[-1]
        assert found in message
        assert bad.valid.split()[0] in message or "Invalid value" in message, message


class Clash(NamedTuple):
    """Options, or an option and a field of the scene, that contradict each other."""

    run: Mapping[str, Any]
    """Options of the run."""
    scene: Mapping[str, Any]
    """Options of the scene."""
    message: str
    fields: Mapping[str, Any] = {}
    """Other fields of the scene."""


CLASHES = {
    "portrait, but not portrait": Clash(
        {}, {"size": "portrait", "is_portrait": False}, "one: options: size is portrait and is_port"
    ),
    "scene against run": Clash(
        {"size": "square"},
        {"is_portrait": True},
        "one: options: size is square and is_portrait is true; is_portrait is in the file or the "
        "options of this scene; expected no is_portrait there, or is_portrait=False (--landscape) "
        "in place of size for the run",
    ),
    "run against scene": Clash(
        {"is_portrait": True},
        {"size": "480x270"},
        "one: options: size is 480x270 and is_portrait is true; size is in the file or the options "
        "of this scene; expected another size there, or no is_portrait (--portrait, --landscape) "
        "for the run",
    ),
    "zoom twice": Clash(
        {}, {"effects": [], "enable_zoom": True}, "one: options: effects and enable_zoom are both"
    ),
    "watermark twice": Clash(
        {}, {"watermark": "one.png", "watermark_path": "one.png"}, "options.watermark_path: "
    ),
    "audio and duration": Clash({}, {}, "audio_path and duration; expected", {"duration": 2}),
    "options are a list": Clash({}, {}, "one: options: []; expected a mapping", {"options": []}),
    "options are a text": Clash({}, {}, "one: options: 'fps=24'", {"options": "fps=24"}),
    "no options": Clash({}, {}, "one: options: None; expected a mapping", {"options": None}),
    "an option as a field": Clash({}, {}, "one: fps: an unknown field; expected", {"fps": 24}),
    "no such watermark": Clash({}, {"watermark": "no.png"}, "one: watermark: no such file: /"),
    "no such music": Clash({}, {"music": "no.mp3"}, "one: music: no such file: /"),
    "no such font": Clash({}, {"font": "no.ttf"}, "one: font: no such file: /"),
    "no such watermark of the run": Clash({"watermark": "no.png"}, {}, "options: watermark: no s"),
    "no such music of the run": Clash({"music": "no.mp3"}, {}, "options: music: no such file: /"),
    "no such font of the run": Clash({"font": "no.ttf"}, {}, "options: font: no such file: /"),
    "a sound as watermark": Clash({}, {"watermark": "one.wav"}, "one: watermark: a wav file: /"),
    "a picture as music": Clash({}, {"music": "one.png"}, "one: music: a PNG picture: /"),
    "a picture as font": Clash({}, {"font": "./one.png"}, "one: font: a PNG picture: /"),
    "a folder as music": Clash({}, {"music": "."}, "one: music: a folder: /"),
    "a URL as music": Clash({}, {"music": Path("ftp://a.b/c")}, "one: music: a URL in a path: ftp"),
    "a zero in a path": Clash({}, {"watermark": "a\0.png"}, "one: watermark: unreadable"),
    "a long path": Clash({}, {"font": "/" + "a" * 10_000}, "one: font: "),
}


@pytest.mark.parametrize("clash", CLASHES.values(), ids=CLASHES)
async def test_contradictions_and_files(
    clash: Clash, cloud: Account, scene: dict[str, Any]
) -> None:
    run = RenderOptions.model_validate(clash.run)
    message = await rendered(cloud, [scene | {"options": clash.scene} | clash.fields], run)
    assert clash.message in message
    assert "; expected " in message


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        *(
            ({"duration": value}, f"duration: {value!r}")
            for value in (0, -1, "nan", math.inf, "1s")
        ),
        ({"duration": 1e300}, "duration: 1e+300 seconds; expected at most 14400 seconds"),
        ({"duration": HUGE}, "duration: "),
        ({"duration": [1]}, "duration: [1]"),
        ({}, "audio_path: nothing; expected"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
async def test_lengths(
    fields: dict[str, Any], found: str, cloud: Account, scene: dict[str, Any]
) -> None:
    del scene["audio_path"]
    message = await rendered(cloud, [scene | fields])
    assert f"one: {found}" in message
    assert " seconds" in message


@pytest.mark.parametrize(
    ("option", "value", "valid"),
    [
        ("size", "huge", SIZE),
        ("fps", 23, "one of 24, 25"),
        ("fps", True, "one of 24, 25"),
        ("backdrop", "red", "blur, or a colour"),
        ("font", "Arial", "Noto Sans CJK SC"),
        ("fit", "stretch", "'cover' or 'contain'"),
        ("fade_in", 11, "less than or equal to 10"),
    ],
)
def test_the_class_itself_says_what_is_valid(option: str, value: object, valid: str) -> None:
    with pytest.raises(ValueError, match=option) as caught:
        RenderOptions.model_validate({option: value})
    assert valid in str(caught.value)
