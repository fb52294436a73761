"""The file report.html in Chromium: what it shows, plays and prints, and what hostile names do.

``nox -s browser`` runs it; it needs the program ``chromium``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from cloudburst import write_report
from cloudburst.errors import EncodeError
from cloudburst.models.report import Status
from support.page_texts import page_text
from support.sample_media import quadrants, tone
from support.sample_reports import HOSTILE, failed, report, scene, video

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

CHROMIUM = shutil.which("chromium") or "chromium"
LOCALES = {"en": "en-US", "zh": "zh-CN"}


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(chromium, path, *, width=1280, language="en", scheme="light", **more):
    """A window with the page; its ``trouble`` is what the page did wrong."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        locale=LOCALES[language],
        color_scheme=scheme,
        **more,
    )
    page = context.new_page()
    page.trouble = trouble = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
    page.on(
        "console",
        lambda said: trouble.append(said.text) if "ERR_FILE_NOT_FOUND" not in said.text else None,
    )
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(("file:", "data:")) else trouble.append(asked.url)
        ),
    )
    page.goto(path.as_uri())
    return page


def note_request(url, trouble):
    if not url.startswith(("file:", "data:")):
        trouble.append(url)


def partial(folder, count=3):
    bad = failed(folder, ["bad"], EncodeError("no sound"))
    return report(folder, status=Status.PARTIAL, scenes=(*report(folder, count).scenes, *bad))


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("zh", "dark")])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_shows_the_run_in_every_look(chromium, tmp_path, language, scheme, width):
    path = write_report(partial(tmp_path), tmp_path / "report.html")
    page = opened(chromium, path, width=width, language=language, scheme=scheme)
    expect(page.locator(".pill")).to_have_text(page_text("state.partial", language))
    expect(page.locator(".stats .v").nth(0)).to_have_text("3 / 4")
    expect(page.locator(".stats .v").nth(2)).to_contain_text("0.0160")
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.locator(".call")).to_contain_text("no sound")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    serious = [
        (found["id"], found["nodes"][0]["html"])
        for found in Axe().run(page).response["violations"]
        if found["impact"] in {"serious", "critical"}
    ]
    assert not serious
    page.get_by_role("button", name="EN" if language == "zh" else "中文").click()
    other = "en" if language == "zh" else "zh"
    expect(page.locator(".pill")).to_have_text(page_text("state.partial", other))
    assert not page.trouble


def test_thousand_scenes_are_squares_with_a_table_of_some(chromium, tmp_path):
    page = opened(chromium, write_report(partial(tmp_path, 1_000), tmp_path / "report.html"))
    expect(page.locator(".squares i")).to_have_count(1_001)
    expect(page.locator("tbody tr")).to_have_count(21)
    page.get_by_role("button", name="Show all 1,001").click()
    expect(page.locator("tbody tr")).to_have_count(1_001)
    assert not page.trouble


def test_all_of_five_thousand_scenes_are_shown_in_seconds(chromium, tmp_path):
    page = opened(chromium, write_report(report(tmp_path, 5_000), tmp_path / "report.html"))
    for part, shown in (("videos", ".tile"), ("scenes", "tbody tr")):
        button = page.locator(f"section[aria-labelledby={part}] button.noprint")
        seconds = button.evaluate(
            """async button => {
              const began = performance.now();
              button.click();
              await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
              return (performance.now() - began) / 1000;
            }"""
        )
        expect(page.locator(shown)).to_have_count(5_000)
        assert seconds < 10, part  # 3 on two busy cores
    assert page.locator(".tile video").count() < 100
    assert not page.trouble


def test_timeline_has_a_shade_where_it_scrolls(chromium, tmp_path):
    path = write_report(partial(tmp_path), tmp_path / "report.html")
    page = opened(chromium, path, width=390)
    lanes = page.locator(".timeline")
    assert lanes.evaluate("one => one.scrollWidth > one.clientWidth")
    lanes.scroll_into_view_if_needed()
    edge = lanes.bounding_box()
    clip = {"x": edge["x"] + edge["width"] - 2, "y": edge["y"] + 1, "width": 1, "height": 4}
    more = page.screenshot(clip=clip)
    lanes.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    assert page.screenshot(clip=clip) != more


@pytest.mark.parametrize(("count", "kept"), [(20, "avoid"), (21, "auto")])
def test_short_table_is_printed_on_one_page(chromium, tmp_path, count, kept):
    page = opened(chromium, write_report(report(tmp_path, count), tmp_path / "report.html"))
    page.emulate_media(media="print")
    table = page.locator("section[aria-labelledby=scenes]")
    assert table.evaluate("one => getComputedStyle(one).breakInside") == kept


def test_hostile_texts_run_nothing(chromium, tmp_path):
    scenes = [
        scene(tmp_path, text[:200] + kind, video=video(tmp_path, "v", warnings=(text,)))
        for kind, text in HOSTILE.items()
    ]
    bad = [one for text in HOSTILE.values() for one in failed(tmp_path, [text], EncodeError(text))]
    made = report(tmp_path, scenes=(*scenes, *bad), film_error=HOSTILE["script"])
    page = opened(chromium, write_report(made, tmp_path / "report.html"))
    expect(page.locator("tbody tr")).to_have_count(len(made.scenes))
    expect(page.get_by_text(HOSTILE["script"]).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not page.trouble
    assert not page.locator("[onload], [onerror], [onclick]").count()


def test_names_that_look_the_same_stay_apart(chromium, tmp_path):
    names = ["a\x01", "a\x02"]
    scenes = [scene(tmp_path, name, video=video(tmp_path, "v")) for name in names]
    bad = [one for name in names for one in failed(tmp_path, [name], EncodeError(name))]
    made = report(tmp_path, scenes=(*scenes, *bad))
    page = opened(chromium, write_report(made, tmp_path / "report.html"))
    page.get_by_role("button", name="中文").click()
    for shown, count in {"tbody tr": 4, ".tile": 2, ".call": 2}.items():
        expect(page.locator(shown)).to_have_count(count)
    assert not page.trouble


def test_without_scripts_the_tables_are_there(chromium, tmp_path):
    path = write_report(partial(tmp_path), tmp_path / "report.html")
    page = opened(chromium, path, java_script_enabled=False)
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.locator(".call")).to_contain_text("no sound")
    assert not page.trouble


def test_video_plays_and_what_is_printed_has_no_buttons(chromium, tmp_path):
    inputs, out = tmp_path / "in", tmp_path / "out #1"
    inputs.mkdir()
    quadrants(320, 240).save(inputs / "a b.png")
    tone(inputs / "a b.wav", "-f", "wav", seconds=1)
    how = ["--backend", "local", "--size", "320x240", "--cover", "--quiet"]
    command = [sys.executable, "-m", "cloudburst", "render", inputs, "--to", out, *how]
    subprocess.run(command, check=True)
    page = opened(chromium, out / "report.html")
    page.get_by_role("button", name="Play a b").click()
    expect(page.locator(".tile video")).not_to_have_js_property("currentTime", 0)
    assert page.evaluate("document.querySelector('.tile video').poster").endswith("a%20b.jpg")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    expect(page.locator("button:visible")).to_have_count(0)
    assert not page.trouble
