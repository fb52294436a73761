"""Pages about looks: their code runs, and their pictures are those of the script."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType

import av
import pytest
from PIL import Image

from cloudburst import RenderOptions, Scene
from cloudburst.media.subtitles.cues import WORD_TIMES
from cloudburst.models.options.marks import MarkOptions
from cloudburst.models.options.picture import MotionOptions, PictureOptions
from cloudburst.models.options.subtitles import CAPTIONS, SubtitleOptions
from support.doc_blocks import run_page
from support.doc_pages import PAGES, ROOT, blocks, text_of
from support.old_calls import without_settings
from support.short_story import short_story

LOOKS = [page for page in PAGES if "docs/" in page and "/looks/" in page]
NO_PICTURE = {
    "is_portrait": "size has pictures",
    "fps": "loops have fewer frames",
    "motion_search": "the pictures are the same",
    "bold": "language has a picture",
    "shadow_blur": "karaoke has it",
    "title": "is not drawn",
    "metadata": "is not drawn",
    "cover": "is a file of its own",
}
"""Options of the look that the pages do not show, and the reason."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_looks", ROOT / "docs" / "make_looks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_looks"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def looks(script):
    return [look for looks in script.LOOKS.values() for look in looks]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Folder with the examples, as in a clone."""
    without_settings(monkeypatch, tmp_path)
    short_story(tmp_path, "01-harbour", "02-cloud", "03-storm", "05-starlight", "06-morning")
    shutil.copytree(ROOT / "examples" / "looks", tmp_path / "examples" / "looks")
    shutil.copy(ROOT / "examples" / "story" / "05-starlight.m4a", tmp_path / "examples" / "story")
    shutil.copy(ROOT / "examples" / "story" / "01-harbour.mp3", tmp_path / "piano.mp3")
    return tmp_path


@pytest.mark.parametrize("page", LOOKS)
def test_the_tables_of_pictures_are_those_of_the_script(script, page):
    made = script.tables(text_of(page), script.folder_of(ROOT / page))
    assert made == text_of(page), "run python docs/make_looks.py"


def test_each_picture_of_the_script_is_on_a_page(script):
    english = "".join(map(text_of, filter(lambda page: "/zh/" not in page, LOOKS)))
    assert re.findall(r"<!-- pictures of (\w+) -->", english) == sorted(
        script.LOOKS, key=lambda name: english.index(f"<!-- pictures of {name} -->")
    )


def test_every_picture_is_there_small_and_differs_from_the_others(script, looks):
    files = {path.stem: path for path in script.FOLDER.iterdir()}
    assert sorted(files) == sorted(look.name for look in looks)
    contents = [path.read_bytes() for path in files.values()]
    assert len({hashlib.sha256(content).digest() for content in contents}) == len(looks)
    assert max(map(len, contents)) <= 120_000
    assert sum(map(len, contents)) <= 5_000_000
    for look in looks:
        with Image.open(files[look.name]) as picture:
            assert picture.format == "WEBP"
            assert max(picture.width / script.WIDTH, picture.height / script.HEIGHT) == 1
            assert seconds(picture) == (3 if look.moves else 0), look.name


def seconds(picture):
    """Return the length of a loop, in seconds."""
    total = 0
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        picture.load()
        total += picture.info.get("duration", 0)
    return total / 1000


def test_the_flags_are_the_names_of_options_with_underscores(looks):
    """The gallery says so. Flags of films are those of ``cloudburst render --film``."""
    seen = set()
    for look in (look for look in looks if look.scene):
        options = options_of(look)
        if options.keys() - seen:  # the command line is slow
            seen |= options.keys()
            assert RenderOptions.model_validate(options) == look.options(), look.name


def options_of(look):
    """Return the options of a look by the names of its flags."""
    given = {}
    for word in shlex.split(look.flags):
        if word.startswith("--no-"):
            given[word.removeprefix("--no-").replace("-", "_")] = False
        elif word.startswith("--"):
            name = word.removeprefix("--").replace("-", "_")
            given[name] = True
        else:
            given[name] = word
    return given


def test_every_option_that_changes_the_picture_is_shown(looks):
    models = PictureOptions, MotionOptions, SubtitleOptions, MarkOptions
    visible = {name for model in models for name in model.model_fields}
    shown = {name for look in looks if look.scene for name in options_of(look)}
    assert visible - shown == NO_PICTURE.keys() - shown, "add a look to docs/make_looks.py"


def test_the_table_of_captions_has_the_options_that_they_stand_for():
    for name, options in CAPTIONS.items():
        cell = ", ".join(itertools.starmap(given_text, options.items()))
        assert f"| `{name}` | {cell} |\n" in text_of("docs/looks/subtitles.md")


def given_text(name, value):
    if value is None:
        return f"`{name}` by `language`"
    shown = str(value).lower() if isinstance(value, bool) else value
    return f"`{name}={shown if isinstance(shown, str) else f'{shown:g}'}`"


@pytest.mark.parametrize("page", ["docs/looks/subtitles.md", "docs/zh/looks/subtitles.md"])
def test_the_table_of_word_times_names_the_services_of_the_error_message(page):
    table = text_of(page).split("| Amazon Polly |")[1].split("\n\n")[0]
    cells = "Amazon Polly | " + " ".join(row.split("|")[1] for row in table.splitlines()[1:])
    for name in WORD_TIMES.replace("Polly and ", "Polly, Amazon ").split(", "):
        assert name in cells


@pytest.mark.real
def test_the_frame_of_the_gallery_and_the_text_of_a_scene_are_drawn(here, says):
    """The whole pages run at night."""
    run_page("docs/looks/index.md", environment=says)
    with Image.open(here / "look.jpg") as picture:
        assert picture.size == (1920, 1080)
    space = {}
    run_page("docs/looks/subtitles.md", space, environment=says)
    scene = Scene.model_validate(space["scene"])
    assert (here / str(scene.subtitle)).read_text() == "[00:00.00]At the edge of a quiet harbour\n"


def test_scenes_of_the_page_about_films_are_valid():
    (scenes,) = blocks("docs/looks/films.md", "json")
    assert [Scene.model_validate(scene).name for scene in json.loads(scenes)] == [
        "title",
        "harbour",
    ]


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_code_of_all_pages_makes_videos_and_films(here):
    run_page("docs/looks/index.md")
    assert {path.name for path in here.glob("look*")} == {"look.png", "look.jpg", "looks"}
    run_page("docs/looks/films.md", instead={"s3://": "needs an account"})
    assert len(list(here.glob("loud/*.mp4"))) == 5
    lengths = {path.stem: length(path) for path in here.glob("*.mp4")}
    assert lengths == pytest.approx(
        {
            "story": 20,
            "again": 17,
            "film": 17,
            "with-music": 20,
            "music": 8.3,
            "tale": length(Path("examples/story/05-starlight.m4a")),
        },
        abs=0.3,
    )


def length(path):
    with av.open(str(path)) as file:
        return file.duration / av.time_base
