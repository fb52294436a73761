"""Times on the command line."""

from __future__ import annotations

import pytest
from cyclopts import CoercionError
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.cli.app import app
from cloudburst.cli.options import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("0.5s", 0.5),
        ("10m", 600),
        ("10min", 600),
        ("1h", 3600),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1h 30m 10s", 5410),
        ("1H30M", 5400),
        ("2d", 172_800),
        ("1d12h", 129_600),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0s",
        "-10m",
        "10x",
        "m",
        "30m1h",
        "1h1h",
        "1,5h",
        "1h30",
        "nan",
        "inf",
        "９０９h٣",
    ],
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as 90s, 10m, 1h30m or 2d"):
        parse_duration(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m", 60), ("2.5", 2.5), ("0", 0), ("0s", 0)]
)
@pytest.mark.parametrize("option", ["provisioning", "pending"])
def test_delays_of_the_emulator(option: str, text: str, seconds: float) -> None:
    words = ["emulate", f"--{option}", text]
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert bound.arguments[option] == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "inf"])
def test_no_delays(text: str) -> None:
    with pytest.raises(CoercionError, match="expected a time such as"):
        app.parse_args(["emulate", "--pending", text], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("flag", ["--fps=29.97", "--font-size=20.5", "--font-size=", "--fps=film"])
def test_whole_numbers_are_not_rounded(flag: str) -> None:
    with pytest.raises(CoercionError, match="; expected a whole number"):
        app.parse_args(["render", "s.json", flag], exit_on_error=False, print_error=False)
