"""The page of ``cloudburst serve`` in Chromium: from dropped files to a film that plays.

``nox -s browser`` runs it; it needs the program ``chromium``. A screenshot of each state is written
to the folder that ``CLOUDBURST_SCREENSHOTS`` names.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import time
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from cloudburst.media.subtitles import read_subtitles
from support.doc_pages import ROOT
from support.marked_processes import Watch
from support.page_texts import page_text
from support.spoken_folder import LINES, spoken_folder
from support.standing_server import standing_server

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

CHROMIUM = shutil.which("chromium") or "chromium"
LOCAL = ("--backend", "local", "--workers", "2")
SIZES = {"wide": (1440, 900), "phone": (390, 844)}
LOOKS = [("wide", "en", "light"), ("phone", "zh", "dark")]
OTHER_LOOKS = [("wide", "zh", "dark"), ("phone", "en", "light")]
SERIOUS = {"serious", "critical"}
SHOTS = os.environ.get("CLOUDBURST_SCREENSHOTS")
DROP = """files => {
  const transfer = new DataTransfer();
  for (const { name, data } of files) {
    const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  document.querySelector("main").dispatchEvent(new DragEvent("drop", options));
}"""
PAIR = """async cases => {
  const { pair } = await import("./pairing.js");
  return cases.map(({ files }) => pair(files));
}"""

NOTE = """() => {
  window.said = new Set();
  const note = () => document.querySelectorAll(".say").forEach(one => said.add(one.textContent));
  const everything = { subtree: true, childList: true, characterData: true };
  new MutationObserver(note).observe(document.body, everything);
}"""


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def watch(tmp_path):
    watch = Watch(tmp_path)
    yield watch
    watch.kill()


@pytest.fixture
def server(tmp_path, watch):
    with standing_server(tmp_path, *LOCAL, **watch.environment) as server:
        yield server


class Window:
    """Browser window with a size, a language and colours; it collects errors of the console."""

    def __init__(self, context, language, name):
        self.context, self.language, self.name = context, language, name
        self.errors = []
        self.page = self.new_tab()

    def new_tab(self):
        page = self.context.new_page()
        page.on("console", lambda line: line.type == "error" and self.errors.append(line.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def text(self, key, **values):
        return page_text(key, self.language, **values)

    def button(self, key, **values):
        return self.page.get_by_role("button", name=self.text(key, **values), exact=True)

    def pill(self, page=None):
        return (page or self.page).locator(".head .pill")

    def check(self, state):
        """Look for faults of accessibility and of the layout, and keep a screenshot."""
        self.page.wait_for_timeout(300)
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/{state}-{self.name}.png")
        found = Axe().run(self.page).response["violations"]
        serious = [
            (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in SERIOUS
        ]
        assert not serious, (state, serious)
        excess = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert excess <= 0, (state, "wider than the window")

    def drop(self, files):
        data = [{"name": name, "data": base64.b64encode(file).decode()} for name, file in files]
        self.page.evaluate(DROP, data)

    def render(self):
        """Go from ready files to a run."""
        self.page.get_by_role("button", name=self.text("next.look")).click(timeout=20_000)
        frame = self.page.locator(".stage img")
        expect(frame).to_have_attribute("src", re.compile("^blob:"), timeout=30_000)
        self.check("look")
        self.button("next.plan").click()
        expect(self.button("render.free")).to_be_enabled(timeout=20_000)
        self.check("plan")
        self.button("render.free").click()
        self.page.wait_for_url("**/#/run/*")

    def wait_for(self, state):
        expect(self.pill()).to_have_text(self.text(f"state.{state}"), timeout=120_000)


@contextmanager
def window(chromium, server, size="wide", language="en", theme="light"):
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, has_touch=size == "phone"
    )
    context.add_init_script(
        f"localStorage.language ??= '{language}'; localStorage.theme ??= '{theme}'"
    )
    opened = Window(context, language, f"{width}-{theme}-{language}")
    opened.page.goto(server.url)
    yield opened
    context.close()
    assert not opened.errors


def wait_until(is_so, seconds=15):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def story(*names):
    files = sorted((ROOT / "examples" / "story").iterdir())
    return [(path.name, path.read_bytes()) for path in files if path.stem in names]


@pytest.mark.parametrize("look", LOOKS, ids="-".join)
def test_dropped_files_become_a_film_that_plays(look, chromium, server, watch):
    names = ("01-harbour", "02-cloud", "03-storm", "04-beacon", "05-starlight")
    broken = [("06-broken.png", story("02-cloud")[1][1]), ("06-broken.mp3", b"a text" * 50)]
    with window(chromium, server, *look) as opened:
        opened.check("empty")
        opened.drop([*story(*names), *broken, ("notes.txt", b"a text")])
        without = opened.button("continue.without", n=2)
        expect(without).to_be_visible(timeout=20_000)
        faults = opened.page.locator(".faulty .fault")
        expect(faults.nth(1)).to_contain_text(opened.text("fault.unreadable.audio"))
        expect(faults.nth(0)).to_contain_text(opened.text("fault.contradiction.image"))
        opened.check("files")
        opened.button("shape.wide").click()
        expect(faults).to_have_count(1)
        opened.page.reload()
        expect(opened.page.locator(".scenes li")).to_have_count(len(names) + 1)
        opened.button("continue.without", n=1).click(timeout=20_000)
        opened.page.go_back()
        opened.render()

        expect(opened.page.locator(".tile.busy").first).to_be_visible(timeout=30_000)
        opened.check("running")
        (worker, *_) = watch.find("cloudburst.service")
        os.kill(worker, signal.SIGKILL)
        opened.page.reload()
        expect(opened.page.locator(".tile")).to_have_count(len(names))
        second = opened.new_tab()
        second.goto(opened.page.url)
        expect(second.locator(".tile")).to_have_count(len(names))
        opened.wait_for("complete")
        expect(opened.pill(second)).to_have_text(opened.text("state.complete"), timeout=10_000)
        second.close()

        film = opened.page.locator("#film")
        expect(opened.page.locator(".chapters button")).to_have_count(len(names))
        opened.check("finished")
        opened.page.locator(".chapters button").nth(1).click()
        wait_until(lambda: film.evaluate("film => film.currentTime") > 7)
        assert film.evaluate("film => film.duration") > 25
        opened.page.locator(".tile .play").nth(2).click()
        video = opened.page.locator(".tile video")
        wait_until(lambda: video.evaluate("video => video.currentTime") > 0.3)
        run = opened.page.url
        opened.page.goto(f"{server.url}/#/runs")
        expect(opened.page.locator(".runs li")).to_have_count(1)
        opened.check("runs")
        opened.page.goto(f"{server.url}/#/settings")
        expect(opened.page.locator(".checks li").first).to_be_visible(timeout=30_000)
        opened.check("settings")
    for other in OTHER_LOOKS:
        with window(chromium, server, *other) as opened:
            for state, url in (("empty", ""), ("runs", "#/runs"), ("finished", run)):
                opened.page.goto(url if url.startswith("http") else f"{server.url}/{url}")
                opened.check(state)


def test_story_is_rendered_cancelled_and_resumed(chromium, server):
    with window(chromium, server) as opened:
        opened.button("story.try").click()
        expect(opened.page.locator(".scenes li")).to_have_count(2)
        opened.render()
        expect(opened.page.locator(".tile.busy").first).to_be_visible(timeout=30_000)
        opened.button("cancel").click()
        opened.button("go.on").click()
        opened.button("cancel").click()
        opened.check("cancel")
        opened.button("cancel.run").click()
        opened.wait_for("cancelled")
        opened.button("resume").click(timeout=10_000)
        opened.wait_for("complete")
        opened.page.goto(f"{server.url}/#/runs")
        name = f"{opened.text('story.name')} {time.strftime('%F')}"
        opened.button("rename.of", name=name).click()
        opened.page.locator("dialog input").fill("Another name")
        opened.button("rename").click()
        opened.page.locator("input[type=search]").fill("other")
        expect(opened.page.locator(".runs h2")).to_have_text("Another name")
        opened.button("delete.of", name="Another name").click()
        opened.button("delete").click()
        expect(opened.page.locator(".runs li")).to_have_count(0)


def test_failed_scene_is_rendered_again_with_another_file(chromium, server):
    picture, sound = story("02-cloud")[1][1], story("02-cloud")[0][1]
    broken = picture[:20_000] + bytes(4_000) + picture[24_000:]
    with window(chromium, server) as opened:
        opened.drop([*story("01-harbour"), ("02.png", broken), ("02.mp3", sound)])
        opened.render()
        opened.wait_for("partial")
        opened.check("failed")
        expect(opened.page.locator(".call h2")).to_have_text(opened.text("has.failed", name="02"))
        with opened.page.expect_file_chooser() as chooser:
            opened.button("replace.image").click()
        new = {"name": "new.png", "mimeType": "image/png", "buffer": picture}
        chooser.value.set_files(new)
        expect(opened.page.locator(".dock p")).to_have_text(opened.text("remedies.n", n=1))
        opened.button("resume").click()
        opened.wait_for("complete")
        expect(opened.page.locator(".chapters button")).to_have_count(2)


def test_times_of_words_in_json_are_the_subtitles_of_their_scenes(chromium, server, tmp_path):
    files = spoken_folder(tmp_path / "spoken")
    later = files.pop("02.json")
    # The next scenes are sent while the first ones are encoded.
    more = [(f"0{n}.{one}", files[f"01.{one}"]) for n in range(3, 7) for one in ("jpg", "mp3")]
    with window(chromium, server, "phone") as opened:
        opened.drop([*files.items(), *more, ("other.json", later)])
        rows = opened.page.locator(".scenes li")
        expect(rows).to_have_count(6)
        expect(opened.page.locator("aside li b")).to_have_text(["other.json"])
        expect(rows.nth(0).locator(".files button").nth(2)).to_have_text("json")
        expect(rows.nth(1).locator(".files button").nth(2)).to_have_text(opened.text("no.subtitle"))
        opened.drop([("02.json", later)])
        expect(rows).to_have_count(6)
        expect(rows.nth(1).locator(".files button").nth(2)).to_have_text("json")
        opened.check("spoken")
        expect(opened.page.locator("#transition")).to_have_value("cut")
        name = f"01 {time.strftime('%F')}"
        expect(opened.page.locator(".head h1")).to_have_text(name)
        opened.page.evaluate(NOTE)
        opened.render()
        opened.wait_for("complete")
        said = set(opened.page.evaluate("[...said]"))
        assert opened.text("scene.encoding.on", worker=1) in said
        assert opened.text("scene.again") not in said
        with opened.page.expect_download() as saving:
            opened.page.get_by_role("link", name=opened.text("film"), exact=True).click()
        assert saving.value.suggested_filename == f"{name}.mp4"
        job = opened.page.url.rpartition("/")[2]
    with server.http() as http:
        subtitles = http.get(f"/api/jobs/{job}/film/subtitles.vtt")
    cues = read_subtitles(subtitles.raise_for_status().content).cues
    assert tuple(cue.text for cue in cues) == LINES


def test_keyboard_alone_reaches_the_pickers(chromium, server):
    with window(chromium, server) as opened:
        expect(opened.page.locator(".drop .btn").first).to_be_visible()
        for _ in range(20):
            opened.page.keyboard.press("Tab")
            if opened.page.evaluate("document.activeElement.matches('.drop .btn')"):
                break
        expect(opened.page.locator(".drop .btn:focus")).to_have_count(1)
        with opened.page.expect_file_chooser():
            opened.page.wait_for_timeout(300)  # until the browser hands pickers to the test
            opened.page.keyboard.press("Enter")


def test_page_says_that_the_server_is_away_and_goes_on_when_it_is_back(chromium, tmp_path):
    with standing_server(tmp_path, *LOCAL) as server:
        url, port = server.url, server.url.rpartition(":")[2]
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{url}/#/runs")
        expect(page.locator(".head h1")).to_be_visible()
    expect(page.locator(".offline")).to_be_visible(timeout=15_000)
    with standing_server(tmp_path, *LOCAL, port=port):
        expect(page.locator(".offline")).to_be_hidden(timeout=15_000)
        context.close()


def test_key_is_asked_for_and_kept(chromium, tmp_path):
    with standing_server(tmp_path, *LOCAL, "--key", "a-key-of-enough-characters") as server:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.locator("#key").fill("another-key-of-characters")
        page.keyboard.press("Enter")
        expect(page.locator("#key-problem")).to_have_text(page_text("key.wrong", "en"))
        page.locator("#key").fill("a-key-of-enough-characters")
        page.keyboard.press("Enter")
        expect(page.locator(".drop")).to_be_visible()
        page.reload()
        expect(page.locator(".drop")).to_be_visible()
        context.close()


def test_names_of_files_are_paired_as_the_table_says(chromium, server):
    cases = json.loads((ROOT / "tests/data/pairing.json").read_text("utf-8"))
    with window(chromium, server) as opened:
        for case, found in zip(cases, opened.page.evaluate(PAIR, cases), strict=True):
            assert sorted(found["lists"]) == case.get("lists", []), case["case"]
            faulty = {fault["scene"] for fault in found["faults"]}
            assert faulty == set(case.get("faulty", [])), case["case"]
            alone = [one["image"] for one in found["scenes"] if not one.get("audio")]
            sound = [one for one in found["scenes"] if one["name"] not in faulty]
            if not faulty:
                assert alone == case.get("alone", []), case["case"]
            if not case.get("refused"):
                scenes = [
                    [one["name"], one["image"], one["audio"], one.get("subtitle")]
                    for one in sound
                    if one.get("audio")
                ]
                assert scenes == case["scenes"], case["case"]
