"""Chinese texts of errors, failures, checks and advice, found by their templates."""

from __future__ import annotations

import ast
import io
import re
import string
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cloudburst import errors
from cloudburst.aws.setup.checks import DoctorReport, failed, passed
from cloudburst.cli import main
from cloudburst.cli.doctor import doctor_lines
from cloudburst.display import language
from cloudburst.display.language import translate
from cloudburst.models.failures import api_errors, connections, s3_errors, stops
from cloudburst.models.failures.failure import Failure

SOURCES = Path(language.__file__).parents[1]
# What people see of other packages is made of these messages, or has texts of its own (the page).
PACKAGES = (
    *("aws", "cli", "client", "compat", "display", "engine", "film", "image", "inputs", "media"),
    *("net", "outputs", "workers"),
)
CALLS = {
    *(name for name, value in vars(errors).items() if isinstance(value, type)),
    *("InvalidInputError", "ValueError", "fault", "_fault", "passed", "warning", "failed"),
    "_FileKind",
}
NAMES = {
    *("msg", "message", "found", "expected", "fix", "fault", "reason", "why", "advice", "text"),
    *("problem", "said", "place", "FORMATS", "DURATION", "TITLE"),
}
CHINESE = re.compile("[\u3400-\u9fff]")
COMMAND = re.compile(r"(?:①?\S* )?(?:aws|cloudburst|pip install|--[a-z]+) ?[^;:,]*|①pip install.*")


@pytest.fixture(autouse=True)
def in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")


def templates(node: ast.AST | None) -> Iterator[str]:
    """Yield the texts that an expression may have, with ① for each value in them."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(
                str(one.value) if isinstance(one, ast.Constant) else "①" for one in values
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            rights = [*templates(right)] or ["①"]
            yield from (a + b for a in [*templates(left)] or ["①"] for b in rights)
        case ast.IfExp(body=one, orelse=other):
            yield from (*templates(one), *templates(other))
        case ast.Tuple(elts=parts) | ast.BoolOp(values=parts) | ast.Dict(values=parts):
            yield from (text for part in parts for text in templates(part))
        case _:
            pass


def is_name(target: ast.AST) -> bool:
    """Return whether one of the names that a statement sets is that of a message."""
    names = {node.id.strip("_") for node in ast.walk(target) if isinstance(node, ast.Name)}
    return bool(NAMES & names) or any(name.startswith("EXPECTED") for name in names)


def messages_of(source: Path) -> Iterator[str]:
    """Yield the sentences in errors, faults and checks of a module; logs are English."""
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Call(func=ast.Name(name) | ast.Attribute(attr=name)) if name in CALLS:
                values = [*node.args, *(word.value for word in node.keywords)]
            case ast.Call(func=ast.Name("Field" | "_named"), keywords=words):
                values = [word.value for word in words if word.arg == "description"]
            case ast.Assign(targets=targets, value=value) if any(map(is_name, targets)):
                values = [value]
            case _:
                values = []
        for value in values:
            for text in templates(value):
                if len(re.findall("[A-Za-z]{2,}", text)) > 1 and " " in text and "%" not in text:
                    yield text


def sentences() -> Iterator[str]:
    for package in PACKAGES:
        for source in sorted((SOURCES / package).rglob("*.py")):
            yield from messages_of(source)
    for source in sorted((SOURCES / "models").rglob("*.py")):
        if source.parent.name != "failures":
            yield from messages_of(source)
    for module in (api_errors, connections, s3_errors, stops):
        for value in vars(module).values():
            rows: tuple[object, ...] = value if isinstance(value, tuple) else (value,)
            for row in rows:
                if isinstance(row, Failure):
                    yield from filter(None, (row.meaning, row.action))


def test_each_sentence_has_a_translation() -> None:
    found = {text for text in sentences() if not COMMAND.fullmatch(text)}
    assert len(found) > 700
    assert sorted(text for text in found if translate(text) == text) == []


def test_a_translation_has_the_places_of_its_message() -> None:
    for template, chinese in language._chinese("chinese_messages.json").items():
        places = [name for _, name, _, _ in string.Formatter().parse(chinese) if name is not None]
        count = template.count("{}")
        assert sorted(places) in (sorted(map(str, range(count))), [""] * count), template


def test_parts_of_a_message_are_translated_and_names_stay() -> None:
    assert translate("/a b/x: not found; expected a list of scenes") == (
        "/a b/x：没有找到；应为 场景列表"
    )
    assert translate("fps is 7; expected one of 24, 25") == "fps 是 7；应为以下之一：24, 25"
    assert translate("a text of a stranger {0}") == "a text of a stranger {0}"
    many = "x; expected " * 300
    assert translate(many).count("expected") < 300


@pytest.mark.parametrize("length", [999, 4096])
@pytest.mark.parametrize("bait", ["a: ", "a; expected ", "x, a on b, port c, "])
def test_a_name_that_looks_like_many_messages_is_translated_in_no_time(bait, length) -> None:
    text = (bait * length)[:length]
    began = time.process_time()
    assert translate(text).strip()
    assert time.process_time() - began < 1


def test_a_fault_and_the_words_of_a_command_are_chinese(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text('[{"name": "a", "image": "no.png", "duration": 1}]')
    assert main(["render", "s.json", "--backend", "local"]) == 2
    assert "没有这个文件" in capsys.readouterr().err
    assert main(["plan", "s.json", "--zoom", "none"]) == 2
    assert "后面不带值" in capsys.readouterr().err


def test_the_page_of_doctor_is_chinese_in_columns() -> None:
    checks = (
        passed("region", "us-east-1, from the AWS profile or by default"),
        failed(
            "subnets",
            "subnet-1 does not exist",
            "correct AWS_SUBNET_ID, or remove it and run: cloudburst init",
        ),
    )
    output = io.StringIO()
    console = Console(width=80, file=output)
    console.print(*doctor_lines(DoctorReport(region="us-east-1", checks=checks)), sep="\n")
    lines = [line.rstrip() for line in output.getvalue().splitlines() if line.strip()]
    assert lines == [
        "✓ 区域 us-east-1，来自 AWS 配置或默认值",
        "✗ 子网 subnet-1 不存在",
        "       → 改正 AWS_SUBNET_ID；或删除它，然后运行：cloudburst init",
        "1 项失败：无法在 Fargate 上运行。",
    ]
