"""Script that builds the documentation's site in both languages into ``site``.

nox -s docs

The site of each language is built from a copy of all pages, so that links between them are checked
as files. Of the Chinese one, only the Chinese pages are kept. The search of each language has its
own index: in Chinese, Chinese pages come first, then the English ones that are not translated.
"""
# ruff: noqa: INP001

from __future__ import annotations

import json
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
API = "reference/api"
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_CODE = re.compile(r"(?ms)(^```.*?^```$)")
_HAN = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
# A line break within Chinese text, which a browser would show as a space.
_HAN_BREAK = re.compile(f"(?<={_HAN})\\n *(?={_HAN})")


def main(arguments: Sequence[str]) -> None:
    """Build the site; the arguments are those of ``zensical build``."""
    config = tomllib.loads((DOCS / "zensical.toml").read_text("utf-8"))
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["cloudburst"]
    reference = Reference(config["api"])
    shutil.rmtree(WORK, ignore_errors=True)
    pages = WORK / "docs"
    shutil.copytree(DOCS, pages, ignore=shutil.ignore_patterns("*.py", "*.toml", "theme", "__*"))
    for page in pages.rglob("*.md"):
        text = _linked(page.read_text("utf-8"), page.relative_to(pages), about, reference)
        page.write_text(text, "utf-8")
    reference.write(pages / API)
    for language in ("en", "zh"):
        project = _project(config, about, pages, chinese=language == "zh")
        settings = project | {"site_dir": language, "docs_dir": "docs"}
        path = WORK / f"{language}.toml"
        path.write_text(tomli_w.dumps({"project": settings}), "utf-8")
        command = [sys.executable, "-m", "zensical", "build", "-f", str(path), *arguments]
        built = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
        sys.stderr.write(built.stderr.partition("Traceback")[0])
        if built.returncode:
            sys.exit(f"{built.stderr.splitlines()[-1]} ({language})")
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(WORK / "en", SITE)
    shutil.copytree(WORK / "zh" / "zh", SITE / "zh", dirs_exist_ok=True)
    _divide_search()


def _divide_search() -> None:
    """Give each language its index for the search; that of Chinese is beside its pages."""
    english, chinese = (
        json.loads(path.read_text("utf-8"))
        for path in (SITE / "search.json", WORK / "zh" / "search.json")
    )
    own, others = list[dict[str, Any]](), list[dict[str, Any]]()
    for item in chinese["items"]:
        page = item["location"].partition("#")[0]
        if page.startswith("zh/"):
            own.append(item | {"location": item["location"].removeprefix("zh/")})
        elif not (SITE / "zh" / page / "index.html").exists():
            others.append(item | {"location": f"../{item['location']}"})
    english["items"] = [one for one in english["items"] if not one["location"].startswith("zh/")]
    chinese["items"] = own + others
    for path, index in (("search.json", english), ("zh/search.json", chinese)):
        (SITE / path).write_text(json.dumps(index, ensure_ascii=False), "utf-8")
    for page in (SITE / "zh").rglob("*.html"):
        up = "/".join([".."] * (len(page.relative_to(SITE / "zh").parts) - 1)) or "."
        text = re.sub(r'"base":"[./]+"', f'"base":"{up}"', page.read_text("utf-8"))
        page.write_text(text, "utf-8")


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
        is_command = inside.startswith("src/cloudburst/cli/")
        if name := COMMANDS if is_command else described.get(str(target)):
            up = "../" * (len(page.parts) - 1)
            return f"{begin}{up}{API}/{name}.md{end}"
        kind = "tree" if target.is_dir() else "blob"
        return f"{begin}{about['repository']}/{kind}/main/{inside}{end}"

    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(absolute, _HAN_BREAK.sub("", part)) for part in parts[::2]]
    return "".join(parts)


def _project(
    config: Mapping[str, Any], about: Mapping[str, str], pages: Path, *, chinese: bool
) -> dict[str, Any]:
    """Return the configuration of the site in one language."""
    project = dict(config["project"])
    sections = {title: one for section in project["nav"] for title, one in section.items()}
    made = [f"{API}/{name}.md" for name in (*config["api"], COMMANDS)]
    nav = list[dict[str, Any]]()
    for title, section in sections.items():
        entries = _entries(section, pages, chinese=chinese)
        if title == "Reference":
            entries.append({"API": _entries(made, pages, chinese=chinese)})
        nav.append({config["chinese"][title] if chinese else title: entries})
    if not chinese:
        sections["Reference"] += made
        llms = {"full_output": "llms-full.txt", "sections": _summaries(sections, pages)}
        project["plugins"] = project["plugins"] | {"llmstxt": llms}
    translations = (page.relative_to(pages / "zh") for page in pages.glob("zh/**/*.md"))
    urls = [f"{page.with_suffix('').as_posix()}/".removesuffix("index/") for page in translations]
    palette = [dict(one) for one in project["theme"]["palette"]]
    for one in palette if chinese else ():
        one["toggle"] = one["toggle"] | {"name": config["chinese"][one["toggle"]["name"]]}
    return project | {
        "extra": {
            "alternate": True,
            "homepage": "zh/" if chinese else "./",
            "social": [{"icon": "fontawesome/brands/github", "link": about["repository"]}],
            "twins": [*urls, *(f"zh/{url}" for url in urls)],
        },
        "nav": nav,
        "site_author": about["author"],
        "site_url": f"{about['site']}/",
        "theme": project["theme"]
        | {
            "language": "zh" if chinese else "en",
            "custom_dir": str(DOCS / "theme"),
            "palette": palette,
        },
    }


def _entries(section: Iterable[str], pages: Path, *, chinese: bool) -> list[dict[str, Any]]:
    """Return entries of the navigation; without a Chinese page, that of the English one."""
    entries = list[dict[str, Any]]()
    for page in section:
        if chinese and (pages / "zh" / page).exists():
            entries.append({_title(pages / "zh" / page): f"zh/{page}"})
        else:
            title = _title(pages / page)
            entries.append({f"{title}（英文）" if chinese else title: page})
    return entries


def _title(page: Path) -> str:
    return page.read_text("utf-8").partition("\n")[0].removeprefix("# ").replace("`", "")


def _summaries(
    sections: Mapping[str, Iterable[str]], pages: Path
) -> dict[str, list[dict[str, str]]]:
    """Return the first sentence of each page that is not in a heading, list, table or block."""

    def summary(page: Path) -> str:
        for paragraph in _CODE.sub("", page.read_text("utf-8")).split("\n\n"):
            if paragraph.strip() and paragraph[0] not in "#|-*!<>":
                text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", " ".join(paragraph.split()))
                return text.split(". ")[0].rstrip(".:")
        return ""

    return {
        title: [{page: summary(pages / page)} for page in section]
        for title, section in sections.items()
    }


if __name__ == "__main__":
    main(sys.argv[1:])
