"""Pages of ``--help``."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from cloudburst.cli import main
from cloudburst.cli.app import app

COMMANDS = (
    "--help",
    "--help-looks",
    "image build --help",
    "image push --help",
    *(f"{name} --help" for name in app if name.isalpha() and name != "image"),
)
LINES = {"render": 60, "init": 53, "serve": 45, "resume": 43, "--help-looks": 185}
"""Largest number of lines of pages that do not fit into 40."""

PAGES = dict[str, str]()
"""Pages that were printed: most of them for several tests."""
SUMMARIES = {name: app[name].help for name in app}


@pytest.fixture
def page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    for name, summary in SUMMARIES.items():  # a page of a command replaces its summary
        monkeypatch.setattr(app[name], "help", summary)

    def page(words: str) -> str:
        if words not in PAGES:
            assert main(words.split()) == 0
            PAGES[words] = capsys.readouterr().out
        return PAGES[words]

    return page


@pytest.mark.parametrize("words", COMMANDS)
def test_a_page_is_short_and_has_examples_that_are_valid(words, page):
    text = page(words)
    lines = text.splitlines()
    assert len(lines) <= LINES.get(words.split()[0], 40)
    assert max(map(len, lines)) <= 80
    assert re.search(r"\b(STR|INT|FLOAT|DECIMAL|PATH)\b", text) is None
    examples = re.findall(r"^\$ (?:.* )?cloudburst (.*)", text, re.MULTILINE)
    assert examples
    for example in examples:
        app.parse_args(shlex.split(example.partition(" > ")[0]))


def test_times_are_durations_with_an_example(page):
    assert re.search(
        r"--deadline DURATION +Finish within this time, such as 10m", page("render --help")
    )
    assert "--at DURATION" in page("frame --help")
    assert "--older-than DURATION" in page("cleanup --help")


def test_options_for_the_look_have_names_in_render_and_texts_in_a_page_of_their_own(page):
    look = "--box-padding"
    assert look in page("render --help")
    assert "edges of its box" not in page("render --help")
    for words in ("plan --help", "frame --help"):
        assert look not in page(words)
    app.parse_args(["plan", "folder", look, "0.3,0.1"])
    for words in ("--help-looks", "render folder --help-looks"):
        assert re.search(
            rf"{look} X,Y +Distance from the text to the edges of its box", page(words)
        )
        assert "--transition CHOICE" in page(words)


def test_optional_arguments_and_shells_are_those_of_this_program(page):
    for command in ("report", "resume"):
        assert f"Usage: cloudburst {command} [OPTIONS] [RUN]\n" in page(f"{command} --help")
    for command in ("render", "runs", "film"):
        assert "[RUN]" not in page(f"{command} --help").splitlines()[0]
    completion = " ".join(page("--install-completion --help").split())
    assert "[choices: zsh, bash, fish]" in completion


def test_commands_are_in_the_order_of_their_use(page):
    names = re.findall(r"^  (\w+) ", page("--help"), re.MULTILINE)
    assert names[:3] == ["demo", "render", "plan"]
    assert names.index("webhooks") < names.index("init")
    assert page("--help") == page("")


def test_the_protocol_of_the_public_image_is_accepted_and_not_listed(page):
    for command in ("render", "plan", "resume", "serve", "mcp", "init"):
        assert "--protocol" not in page(f"{command} --help")
    words = ["render", "folder", "--protocol", "native"]
    app.parse_args(words)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("rendr", 'Unknown command "rendr". Did you mean "render"?'),
        ("render folder --wokers 3", "Unknown option: --wokers. Did you mean --workers?"),
        ("render folder --language klingon", 'Choose from: "chinese", "english".'),
        ("plan x --zoom none", "--zoom: 'none'; expected --zoom or --no-zoom, without a value"),
        ("plan x --portrait 1", "'1'; expected --portrait or --landscape, without a value"),
        ("plan x --json yes", "--json: 'yes'; expected --json, without a value"),
        ("tasks all", "'all'; expected no further argument cloudburst tasks --help shows"),
        ("plan x --workers none", "--workers: none; expected a whole number"),
        ("doctor --workers 2.5", "--workers: 2.5; expected a whole number"),
    ],
)
def test_errors_of_options_are_lines_without_a_box(words, line, capsys):
    assert main(words.split()) == 2
    captured = capsys.readouterr()
    assert line in " ".join(captured.err.split())
    assert captured.out == ""
    assert "\u2500" not in captured.err


@pytest.mark.needs("bash")
def test_bash_completes_commands_and_options(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "cloudburst.bash"
    words = ["--install-completion", "--shell", "bash", "--output", str(script)]
    assert main(words) == 0
    assert str(script) in (tmp_path / ".bashrc").read_text()
    code = """
        . "$1"
        complete_words() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _cloudburst cloudburst
            echo "${COMPREPLY[*]}"
        }
        complete_words cloudburst fr
        complete_words cloudburst render --dead
        complete_words cloudburst render --fit ""
    """
    done = subprocess.run(
        ["bash", "-c", code, "bash", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["frame", "--deadline", "cover contain"]
