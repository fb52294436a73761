"""Script that builds the documentation's site in both languages into ``site``.

nox -s docs

The site of each language is built from a copy of all pages, so that links between them are checked
as files. Of the second one, only its own pages are kept.
"""
# ruff: noqa: INP001

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from make_api import COMMANDS, Reference

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SITE = ROOT / "site"
WORK = ROOT / "build" / "site"
PLACEHOLDER = {
    "repository": "https://github.com/OWNER/cloudburst",
    "site": "https://OWNER.github.io/cloudburst/",
    "author": "OWNER",
}
"""Addresses of the project as long as pyproject.toml has none."""
API = "reference/api"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_CODE = re.compile(r"(?ms)(^```.*?^```$)")


def main(arguments: Sequence[str]) -> None:
    """Build the site; the arguments are those of ``zensical build``."""
    config = tomllib.loads((DOCS / "zensical.toml").read_text("utf-8"))
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    about = tools.get("cloudburst", PLACEHOLDER)
    reference = Reference(config["api"], ROOT / "src")
    shutil.rmtree(WORK, ignore_errors=True)
    reference.write(WORK / API)
    languages = ("en", "zh") if (DOCS / "zh").exists() else ("en",)
    for language in languages:
        pages = WORK / language / "docs"
        shutil.copytree(DOCS, pages, ignore=shutil.ignore_patterns("*.py", "*.toml", "__pycache__"))
        shutil.copytree(WORK / API, pages / API)
        for page in pages.rglob("*.md"):
            text = page.read_text("utf-8")
            page.write_text(_linked(text, page.relative_to(pages), about, reference), "utf-8")
        project = _project(config, about, pages, language)
        (WORK / language / "zensical.toml").write_text(tomli_w.dumps({"project": project}))
        command = [sys.executable, "-m", "zensical", "build", "-f", "zensical.toml", *arguments]
        built = subprocess.run(
            command, check=False, cwd=WORK / language, stderr=subprocess.PIPE, text=True
        )
        sys.stderr.write(built.stderr.partition("Traceback")[0])
        if built.returncode:
            sys.exit(f"{built.stderr.splitlines()[-1]} ({language})")
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(WORK / "en" / "site", SITE)
    if (DOCS / "zh").exists():
        shutil.copytree(WORK / "zh" / "site" / "zh", SITE / "zh", dirs_exist_ok=True)


def _linked(text: str, page: Path, about: Mapping[str, str], reference: Reference) -> str:
    """Return a page whose links to files outside the folder are absolute or lead to the reference.

    A link to a module that the reference describes leads to its page.
    """
    described = reference.sources()

    def absolute(match: re.Match[str]) -> str:
        begin, link, end = match.groups()
        if "://" in link or link.startswith("#"):
            return match.group()
        target = (DOCS / page).parent.joinpath(link.partition("#")[0]).resolve()
        if target.is_relative_to(DOCS):
            return match.group()
        inside = target.relative_to(ROOT).as_posix()
        name = described.get(str(target))
        if inside.startswith("src/cloudburst/cli/"):
            name = COMMANDS
        if name:
            up = "../" * (len(page.parts) - 1)
            return f"{begin}{up}{API}/{name}.md{end}"
        kind = "tree" if target.is_dir() else "blob"
        return f"{begin}{about['repository']}/{kind}/main/{inside}{end}"

    parts = _CODE.split(text)
    parts[::2] = [LINK.sub(absolute, part) for part in parts[::2]]
    return "".join(parts)


def _project(
    config: Mapping[str, Any], about: Mapping[str, str], pages: Path, language: str
) -> dict[str, Any]:
    """Return the configuration of the site in one language."""
    chinese = language == "zh"
    nav = list[dict[str, Any]]()
    for section in config["project"]["nav"]:
        ((title, entries),) = section.items()
        listed = [
            _entry(page, pages, chinese=chinese) for page in entries if (pages / page).exists()
        ]
        if title == "Reference":
            names = [*config["api"], COMMANDS]
            listed += [_entry(f"{API}/{name}.md", pages, chinese=chinese) for name in names]
        nav.append({config["chinese"][title] if chinese else title: listed})
    listed = {page for section in config["project"]["nav"] for page in next(iter(section.values()))}
    others = (page.relative_to(pages).as_posix() for page in sorted(pages.rglob("*.md")))
    others = [one for one in others if not one.startswith(("zh/", API)) and one not in listed]
    nav.append({"Other": [_entry(page, pages, chinese=chinese) for page in others]})
    project = dict(config["project"])
    project["theme"] = project["theme"] | {"language": language}
    if not chinese:
        project["plugins"] = project["plugins"] | {"llmstxt": _llms(nav, pages)}
    project["extra"] = {
        "social": [{"icon": "fontawesome/brands/github", "link": about["repository"]}],
        "homepage": "zh/" if chinese else "./",
        "alternate": [
            {"name": "English", "link": "./", "lang": "en"},
            {"name": "中文", "link": "./zh/", "lang": "zh"},
        ],
    }
    return project | {
        "nav": nav,
        "site_url": about["site"],
        "site_author": about["author"],
    }


def _llms(nav: Iterable[Mapping[str, Any]], pages: Path) -> dict[str, Any]:
    """Return the settings of llms.txt, which lists every page with its first sentence."""
    sections = {
        title: [
            {page: _first_sentence(pages / page)} for entry in listed for page in entry.values()
        ]
        for section in nav
        for title, listed in section.items()
    }
    return {"full_output": "llms-full.txt", "sections": sections}


def _first_sentence(page: Path) -> str:
    """Return the first sentence of a page that is not in a heading, list, table or block."""
    for paragraph in _CODE.sub("", page.read_text("utf-8")).split("\n\n"):
        if paragraph and paragraph[0] not in "#|-*!<>":
            text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", " ".join(paragraph.split()))
            return text.split(". ")[0].rstrip(".:") + "."
    return ""


def _entry(page: str, pages: Path, *, chinese: bool) -> dict[str, str]:
    """Return an entry of the navigation; without a Chinese page, that of the English one."""
    own = f"zh/{page}"
    if chinese and (pages / own).exists():
        return {_title(pages / own): own}
    title = _title(pages / page)
    return {f"{title}（英文）" if chinese else title: page}


def _title(page: Path) -> str:
    return page.read_text("utf-8").partition("\n")[0].removeprefix("# ").replace("`", "")


if __name__ == "__main__":
    main(sys.argv[1:])
