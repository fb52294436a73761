"""Configuration of the site: its navigation, and the names in the reference."""

from __future__ import annotations

import tomllib
from importlib import import_module

import pytest

from support.doc_pages import PAGES, ROOT

CONFIG = tomllib.loads((ROOT / "docs/zensical.toml").read_text("utf-8"))
API = CONFIG["api"]
SAME_AS = {
    "cloudburst.blocking": {
        "calculate_fargate_cost",
        "calculate_optimal_batch_distribution",
        "scan_scenes_from_folder",
    }
}
"""Names that a module exports from another one, where the reference has them."""


def test_the_navigation_has_each_page_once():
    sections = [pages for section in CONFIG["project"]["nav"] for pages in section.values()]
    listed = sorted(f"docs/{page}" for pages in sections for page in pages)
    english = (page for page in PAGES if page.startswith("docs/"))
    assert listed == [page for page in english if not page.startswith("docs/zh/")]


def test_each_section_and_palette_has_a_chinese_name():
    names = [name for section in CONFIG["project"]["nav"] for name in section]
    palettes = [palette["toggle"]["name"] for palette in CONFIG["project"]["theme"]["palette"]]
    assert list(CONFIG["chinese"]) == names + palettes


@pytest.mark.parametrize(
    "module", ["cloudburst", "cloudburst.blocking", "cloudburst.testing", "cloudburst.web"]
)
def test_the_reference_has_each_public_name_once(module):
    listed = [name for page in API.values() for name in page["names"]]
    parts = (name.rpartition(".") for name in listed)
    found = sorted(name for where, _, name in parts if where == module)
    public = set(import_module(module).__all__) - SAME_AS.get(module, set())
    if module == "cloudburst":
        assert "cloudburst.errors.*" in listed  # which has the base class, too
        public.discard("CloudburstError")
    assert found == sorted(public)


def test_names_that_the_reference_leaves_out_exist():
    for page in API.values():
        modules = {name.rpartition(".")[2]: name.rpartition(".")[0] for name in page["names"]}
        for left_out in page.get("without", ()):
            owner, _, member = left_out.removesuffix("()").partition(".")
            value = getattr(import_module(modules[owner]), owner)
            known = {*dir(value), *value.__init__.__code__.co_names}
            assert not member or member in known
