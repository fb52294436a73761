"""Short, printable texts for messages."""

from __future__ import annotations

import pytest

from cloudburst.text import describe_error, printable, printable_line, short_repr, short_task


def error_of_a_missing_file(path):
    with pytest.raises(OSError) as caught:
        path.read_bytes()
    return caught.value


def test_an_error_of_a_file_names_the_file_and_its_problem(tmp_path):
    path = tmp_path / ("x" * 200) / "two\nlines"
    text = describe_error(error_of_a_missing_file(path))
    assert text == f"{path.parent}/two�lines: No such file or directory"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("a\x1b[31mb"), "a�[31mb"),
        (KeyError("k"), "'k'"),
        (TimeoutError(), "TimeoutError"),
        (OSError("no file"), "no file"),
        (ValueError("x" * 600), "x" * 500 + "…"),
    ],
)
def test_other_errors_are_one_printable_line(error, text):
    assert describe_error(error) == text


def test_long_values_and_texts_are_cut():
    assert printable_line("abc", 2) == "ab…"
    assert len(short_repr([["x" * 1000] * 1000] * 1000)) <= 60


@pytest.mark.parametrize("huge", [10**5000, [-(10**5000)]], ids=["number", "list"])
def test_a_number_of_too_many_digits_is_no_error(huge):
    shown = short_repr(huge)
    assert "int" in shown or "list" in shown
    assert len(shown) <= 60


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (f"arn:aws:ecs:eu-west-1:123456789012:task/films/{'0123456789abcdef' * 2}", "0123456789ab"),
        ("http://10.0.0.7:5000#a-container", "10.0.0.7:5000"),
        ("local-1", "local-1"),
    ],
)
def test_a_task_has_a_short_name(task: str, name: str) -> None:
    assert short_task(task) == name


@pytest.mark.parametrize(("keep", "shown"), [("", "a�b�c�"), ("\t", "a�b\tc�"), ("\n", "a\nb�c�")])
def test_unprintable_characters_that_are_not_kept_are_replaced(keep, shown):
    assert printable("a\nb\tc\x1b", keep=keep) == shown
