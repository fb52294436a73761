"""What is true of all pages: links, commands, translations, tests, and the place on the site."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import dropwhile, groupby
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from cyclopts import App

from cloudburst.cli.app import app
from support.doc_blocks import NOT_CODE
from support.doc_pages import (
    FENCE,
    PAGES,
    ROOT,
    blocks,
    headings,
    prose_of,
    quoted,
    tables,
    without_comments,
)
from support.old_calls import without_settings

LINKED = (*PAGES, "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
TRANSLATIONS = {
    "README_CN.md": "README.md",
    **{page: page.replace("/zh/", "/") for page in PAGES if page.startswith("docs/zh/")},
}
"""English page of each Chinese one."""
MAX_WORDS, MAX_PAGE_WORDS = 28_000, 2_500
"""Limits of English words in all pages together, and in one of them, with their code."""
FOREIGN_FLAGS = {"--env-file"}
"""Flags of docker."""
ASSIGNMENT = re.compile(r"\w+=")


def links(page: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", prose_of(page))


def target(page: str, link: str) -> str:
    """Return the file to which a link of a page leads, below the project."""
    path = link.partition("#")[0]
    if not path:
        return page
    return str((ROOT / page).parent.joinpath(path).resolve().relative_to(ROOT))


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    texts = (re.sub(r"\]\([^)]*\)", "", line.lstrip("# ").lower()) for line in headings(page))
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page):
    near = [link for link in links(page) if "://" not in link]
    assert [link for link in near if not (ROOT / target(page, link)).exists()] == []
    for link in near:
        _, _, anchor = link.partition("#")
        assert not anchor or anchor in anchors(target(page, link)), link


def simple_commands(code: str) -> Iterator[list[str]]:
    """Yield the words of each simple command in a block for a shell."""
    for line in code.replace("\\\n", " ").splitlines():
        if "cloudburst " in line:
            words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            words.whitespace_split = True
            for is_operator, command in groupby(words, key=lambda word: word[0] in ";&|()<>"):
                if not is_operator:
                    yield list(command)


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each call of `cloudburst` in the blocks of the pages."""
    for page in PAGES:
        for code in blocks(page, "sh", "console"):
            for words in simple_commands(code):
                program, *arguments = dropwhile(ASSIGNMENT.match, words) if words else [""]
                if program == "uvx" and "cloudburst" in arguments:
                    program, *arguments = arguments[arguments.index("cloudburst") :]
                if program == "cloudburst":
                    yield tuple(arguments)


def distinct_commands() -> Iterator[ParameterSet]:
    """Yield the commands; those that only repeat flags of the ones before are nightly."""
    seen = set[tuple[str, ...]]()
    for words in sorted(set(commands())):
        name = words[: 1 if app[words[0]].default_command or len(words) == 1 else 2]
        parts = {name, *((*name, word) for word in words if word.startswith("-"))}
        marks = () if parts - seen else pytest.mark.nightly
        seen |= parts
        yield pytest.param(words, id=" ".join(words), marks=marks)


@pytest.mark.parametrize("words", [*distinct_commands()])
def test_commands_are_known(words, tmp_path, monkeypatch):
    without_settings(monkeypatch, tmp_path)
    command, bound, rest = app.parse_args(words, exit_on_error=False, print_error=False)
    assert callable(command)
    assert not rest if isinstance(rest, list) else True
    assert bound is not None


def names_of(command: App) -> list[str]:
    return [name for name in command if not name.startswith("-")]


def flags_of(command: App) -> set[str]:
    if command.default_command is None:
        return {flag for name in names_of(command) for flag in flags_of(command[name])}
    return {name for argument in command.assemble_argument_collection() for name in argument.names}


def test_commands_and_flags_in_texts_are_known():
    flags = {name: flags_of(app[name]) for name in names_of(app)}
    known = FOREIGN_FLAGS.union({"--help", "--help-looks", "--version"}, *flags.values())
    unknown = []
    for page in PAGES:
        for text in quoted(prose_of(page)):
            words = text.split()
            if words[0] == "cloudburst" and words[1:] and words[1][0].islower():
                wanted = {re.sub(r"[=.,].*", "", word) for word in words if word.startswith("--")}
                if words[1] not in flags or wanted - flags[words[1]] - known:
                    unknown.append((page, text))
            elif words[0].startswith("--") and re.sub(r"[=].*", "", words[0]) not in known:
                unknown.append((page, text))
    assert unknown == []


def figures(rows: list[list[str]]) -> list[tuple[list[str], list[str]]]:
    """Return what is the same in every language, row by row."""
    return [
        (sorted(quoted(" ".join(row))), re.findall(r"\d+(?:\.\d+)?", " ".join(row))) for row in rows
    ]


def code_of(page: str) -> list[str]:
    found = FENCE.findall((ROOT / page).read_text("utf-8"))
    return [without_comments(code) for language, code in found if language not in NOT_CODE]


@pytest.mark.parametrize(("chinese", "english"), TRANSLATIONS.items())
def test_translations_have_the_same_parts(chinese, english):
    for part in (levels, code_of, table_figures, targets):
        assert part(chinese) == part(english)


def levels(page: str) -> list[str]:
    return [line.split()[0] for line in headings(page)]


def table_figures(page: str) -> list[list[tuple[list[str], list[str]]]]:
    return [figures(table) for table in tables(page)]


def targets(page: str) -> set[str]:
    """Return where the links of a page lead: an English page stands for its translation."""
    near = (target(page, link) if "://" not in link else link for link in links(page))
    return {TRANSLATIONS.get(one, one) for one in near}


@pytest.mark.parametrize("chinese", TRANSLATIONS)
def test_a_translation_links_to_translations(chinese):
    english = {target(chinese, link) for link in links(chinese) if "://" not in link}
    translated = {page for page in TRANSLATIONS.values() if page != "README.md"}
    assert english & translated == set()


@pytest.mark.parametrize("chinese", TRANSLATIONS)
def test_a_translation_marks_links_to_english_pages(chinese):
    translated = {*TRANSLATIONS, *TRANSLATIONS.values()}
    for line in prose_of(chinese).splitlines():
        leads = {
            target(chinese, link)
            for link in re.findall(r"\]\(([^)]+\.md[^)]*)\)", line)
            if "://" not in link
        }
        english = {page for page in leads - translated if not page.startswith("src/")}
        assert not english or "英文" in line, line


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_no_block_installs_what_is_not_released(page):
    assert [code for code in blocks(page) if re.search("install.* '?cloudburst-sdk", code)] == []


def named_pages(path: Path) -> Iterator[str]:
    """Yield the pages that a module of tests names, also by parts of their paths."""
    tree = ast.parse(path.read_text("utf-8"))
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for page in PAGES:
        name = Path(page)
        whole = page in texts
        in_parts = {f"/{name.name}", name.name, name.stem} & texts and {
            f"{name.parent}",
            f"{name.parent}/",
            name.parent.name,
        } & texts
        if whole or in_parts:
            yield page


def test_each_page_with_code_has_a_test():
    texts = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    paths = [
        path for path, text in texts.items() if re.search(r"doc_blocks import .*run_page", text)
    ]
    tested = {page for path in paths for page in named_pages(path)}.union(TRANSLATIONS)
    assert [page for page in PAGES if code_of(page) and page not in tested] == []


def words_of(page: str) -> int:
    return len((ROOT / page).read_text("utf-8").split())


COUNTED = [page for page in PAGES if page not in TRANSLATIONS]


@pytest.mark.parametrize("page", COUNTED)
def test_a_page_is_short(page):
    assert words_of(page) <= MAX_PAGE_WORDS


def test_all_pages_are_short():
    assert sum(map(words_of, COUNTED)) <= MAX_WORDS


def test_each_page_is_two_clicks_from_the_readme():
    """On GitHub there is no navigation."""
    near = {"README.md", "docs/index.md"}
    for _ in range(2):
        near |= {
            target(page, link)
            for page in near & {*PAGES}
            for link in links(page)
            if "://" not in link
        }
    assert [page for page in COUNTED if page not in near] == []
