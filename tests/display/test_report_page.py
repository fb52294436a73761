"""The page about a run: its figures, its files, and what hostile names do to it."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from cloudburst import write_report
from cloudburst.display import report_page
from cloudburst.display.texts import format_duration, format_size, format_usd
from cloudburst.errors import ConfigurationError, EncodeError
from cloudburst.models.locations import S3Object
from cloudburst.models.report import Status
from support.sample_reports import HOSTILE, failed, report, scene, video


class Parsed(HTMLParser):
    """Texts of the cells of the table, scripts, and all attributes of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.rows, self.scripts, self.attributes, self.tags = [], [], [], Counter()
        self._open = None
        self.feed(path.read_text("utf-8"))
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "script":
            self.scripts.append("")
        self._open = {"script": "script", "td": "td", "th": "td"}.get(tag, self._open)

    def handle_endtag(self, tag):
        self._open = None if tag in {"script", "td", "th", "table"} else self._open

    def handle_data(self, data):
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open == "td":
            self.rows[-1][-1] += data.strip()


def test_figures_of_the_page_are_those_of_the_report(tmp_path):
    bad = failed(tmp_path, ["x", "y"], EncodeError("no sound"))
    made = report(tmp_path, status=Status.PARTIAL, scenes=(*report(tmp_path).scenes, *bad))
    page = Parsed(write_report(made, tmp_path / "report.html"))
    data = page.data["report"]
    whole = made.model_dump(mode="json")
    assert {key: data[key] for key in data if key != "scenes"} == {
        key: whole[key] for key in data if key != "scenes"
    }
    for entry, shown in zip(made.scenes, data["scenes"], strict=True):
        dumped = entry.model_dump(mode="json")
        facts = shown.keys() - {"video", "error"}
        assert {key: shown[key] for key in facts} == {key: dumped[key] for key in facts}
        assert shown["error"] == bool(entry.error)
        assert (shown["video"] or {}).get("seconds") == (entry.video and entry.video.seconds)
    assert page.data["problems"] == [
        {
            "kind": "scenes",
            "code": "encode",
            "message": "no sound",
            "fix": "correct the file that the message names, and resume",
            "names": ["x", "y"],
            "count": 2,
        }
    ]
    first, *rows = page.rows
    assert first == ["Scene", "Attempts", "Encode", "Length", "Size", "Bill"]
    for entry, cells in zip(made.scenes, rows, strict=True):
        made_of = entry.video
        assert cells == [
            entry.scene + ("" if made_of else "failed"),
            "1",
            format_duration(entry.encode_seconds),
            format_duration(made_of.seconds) if made_of else "",
            format_size(made_of.size) if made_of else "",
            format_usd(entry.usd) if entry.usd is not None else "",
        ]
    assert page.data["resume"] == f"cloudburst resume 5d0c6a1f7f52 --to {tmp_path}"


def test_page_links_to_files_beside_it_and_nothing_else(tmp_path):
    folder = tmp_path / "out #1?"
    made = report(folder, film=folder / "film.mp4", film_started_at=90.0, film_finished_at=98.0)
    page = Parsed(write_report(made, folder / "pages" / "report.html"))
    assert page.data["film"] == {
        "url": "./../film.mp4",
        "cover": "./../film.jpg",
        "where": "film.mp4",
    }
    urls = [scene["video"]["url"] for scene in page.data["report"]["scenes"]]
    assert urls == [f"./../s{n:04}.mp4" for n in range(3)]
    links = [value for _, name, value in page.attributes if name in {"href", "src", "action"}]
    assert all(link.startswith(("./", "data:image/svg+xml;base64,")) for link in links)
    policy = next(value for _, name, value in page.attributes if value and "default-src" in value)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_texts_stay_texts(tmp_path, kind):
    text = HOSTILE[kind]
    plain = Parsed(write_report(report(tmp_path), tmp_path / "plain.html"))
    usual = scene(tmp_path, text, video=video(tmp_path, text, path=tmp_path / "v.mp4"))
    odd = tmp_path / f"{text[:60].replace('/', '')}.mp4"
    moved = scene(tmp_path, "b", video=video(tmp_path, "b", path=odd, warnings=(text,)))
    bad = failed(tmp_path, [text], EncodeError(text))
    made = report(tmp_path, scenes=(usual, moved, *bad), film_error=text)
    page = Parsed(write_report(made, tmp_path / "report.html"))
    assert page.tags["script"] == plain.tags["script"] == 2
    assert page.scripts[1] == plain.scripts[1]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert unquote(page.data["report"]["scenes"][1]["video"]["url"], errors="surrogateescape") == (
        f"./{odd.name}"
    )
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_script_in_a_path_is_a_name_of_a_file(tmp_path):
    path = tmp_path / "javascript:alert(1).mp4"
    made = report(tmp_path, scenes=(scene(tmp_path, "a", video=video(tmp_path, "a", path=path)),))
    page = Parsed(write_report(made, tmp_path / "report.html"))
    assert page.data["report"]["scenes"][0]["video"]["url"] == "./javascript%3Aalert%281%29.mp4"


def test_videos_in_s3_are_named_and_not_linked(tmp_path):
    path = S3Object(bucket="films", key="out/a.mp4")
    made = report(tmp_path, scenes=(scene(tmp_path, "a", video=video(tmp_path, "a", path=path)),))
    page = Parsed(write_report(made, tmp_path / "report.html"))
    shown = page.data["report"]["scenes"][0]["video"]
    assert (shown["url"], shown["where"]) == (None, "s3://films/out/a.mp4")
    assert page.rows[1][0] == "as3://films/out/a.mp4"


def test_thousand_scenes_are_all_in_the_table(tmp_path):
    path = write_report(report(tmp_path, 1_000), tmp_path / "report.html")
    page = Parsed(path)
    assert len(page.rows) == len(page.data["report"]["scenes"]) + 1 == 1_001
    assert path.stat().st_size < 1_500_000


def test_earlier_report_is_replaced_and_another_file_is_not(tmp_path):
    path = tmp_path / "report.html"
    write_report(report(tmp_path, 1), path)
    write_report(report(tmp_path, 2), path)
    assert len(Parsed(path).rows) == 3
    path.write_text("<p>mine</p>")
    with pytest.raises(ConfigurationError, match=r"report\.html: not a report of cloudburst"):
        write_report(report(tmp_path), path)
    assert path.read_text() == "<p>mine</p>"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_modules_of_the_script_become_one_without_names_twice():
    script = report_page._script(report_page._SCRIPT, [])
    names = Counter(
        re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", script, re.MULTILINE)
    )
    assert {"STRINGS", "patch", "timeline", "draw"} <= names.keys()
    assert not [name for name, count in names.items() if count > 1]
    assert not re.search(r"^(?:import|export)\b", script, re.MULTILINE)
    for word in ("</script", "innerHTML", "insertAdjacentHTML", "eval(", "fetch("):
        assert word not in script
