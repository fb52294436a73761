"""Files of scenes that somebody has made to hang or break a command, through the command line."""

from __future__ import annotations

import json
import os
import socket
import time
import wave
from pathlib import Path

import pytest
from PIL import Image

from cloudburst.cli import main
from cloudburst.inputs.scene_files import MAX_SCENE_FILE_BYTES, MAX_SCENES

SECONDS = 15.0
"""For the slowest case. It takes 2 s on an idle core; a hang never ends."""
OUTPUT = 30_000
"""Characters on both streams, at most: a hundred faults, each of which may list all fields."""
SCENE = {"name": "a", "image": "a.png", "audio": "a.wav"}
LINE = "{name: a, image: a.png, audio: a.wav}"
NESTED = 200_000


def bomb(join, *, levels=9, width=9):
    """Each line stands for several of the line before."""
    lines = [f"a0: &a0 {join(['x'] * width)}"]
    lines += [f"a{n}: &a{n} {join([f'*a{n - 1}'] * width)}" for n in range(1, levels)]
    return "\n".join(lines)


def in_list(items):
    return f"[{', '.join(items)}]"


def many(count):
    return [SCENE | {"name": f"s{n}"} for n in range(count)]


def csv_of(rows):
    return "name,image,audio\n" + "\n".join(rows)


def unreadable(path):
    path.write_text("[]")
    path.chmod(0)


def listening(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()  # the name stays


def sparse(path):
    with path.open("wb") as file:
        file.truncate(10 * MAX_SCENE_FILE_BYTES)


def dumped(value, **options):
    """Return a function that writes the JSON when a test needs it: most cases are large."""
    return lambda path: path.write_text(json.dumps(value, **options))


# What each file is: its ending, and its content or what makes it. All are refused but `TAKEN`.
CASES = {
    "yaml: aliases of lists": (".yaml", bomb(in_list)),
    "yaml: an alias of what is around it": (".yaml", "scenes: &a [{name: a, image: *a}]"),
    "yaml: an unknown alias": (".yaml", f"- *{'a' * 5_000}"),
    "yaml: flow nested": (".yaml", "[" * NESTED),
    "yaml: flow mappings nested": (".yaml", "{a: " * NESTED),
    "yaml: blocks nested": (".yaml", "- " * 3_000 + "a"),
    "yaml: indented blocks nested": (".yaml", "\n".join(f"{' ' * n}a:" for n in range(2_000))),
    "yaml: a python object": (".yaml", "- !!python/object/apply:os.system [touch pwned]"),
    "yaml: a wrong time": (".yaml", "- name: !!timestamp x"),
    "yaml: a wrong truth value": (".yaml", "- name: !!bool x"),
    "yaml: an empty number": (".yaml", "- name: !!int ''"),
    "yaml: a long number": (".yaml", f"- {{name: {'9' * 5_000}, image: a.png, audio: a.wav}}"),
    "yaml: a number in base 60": (".yaml", f"- name: {':'.join(['59'] * 100_000)}"),
    "yaml: a date that does not exist": (".yaml", "- {name: 2026-13-45, image: 2026-02-30}"),
    "yaml: a list as a key": (".yaml", "- ? [a]\n  : b"),
    "yaml: directives": (".yaml", "".join(f"%TAG !{n}! x\n" for n in range(200_000)) + "--- a"),
    "yaml: NUL": (".yaml", "- name: a\0b"),
    "yaml: two documents": (".yaml", f"---\n- {LINE}\n---\n- {LINE}"),
    "yaml: many scenes": (".yaml", "\n".join([f"- {LINE}"] * (2 * MAX_SCENES))),
    "yaml: many empty lists": (".yaml", "- []\n" * 700_000),
    "json: nested": (".json", "[" * NESTED + "]" * NESTED),
    "json: nested in a scene": (".json", f'[{{"name": {"[" * 900}{"]" * 900}}}]'),
    "json: nested mappings": (".json", '{"scenes":' * NESTED),
    "json: a long number": (".json", f'[{{"name": {"9" * 5_000}}}]'),
    "json: a number that Python shows": (".json", f'[{{"name": {"9" * 4_000}}}]'),
    "json: not a number": (".json", '[{"name": NaN, "image": Infinity, "audio": -Infinity}]'),
    "json: a long name": (".json", dumped([SCENE | {"name": "n" * 5_000_000}])),
    "json: a long path": (".json", dumped([SCENE | {"image": "p" * 5_000_000}])),
    "json: a long field": (".json", dumped([{"f" * 5_000_000: 1}])),
    "json: many fields": (".json", dumped([{f"f{n}": n for n in range(20_000)}])),
    "json: NUL in a path": (".json", dumped([SCENE | {"image": "a\0.png"}])),
    "json: lone surrogates": (".json", '[{"name": "\\ud800", "image": "\\udfff", "audio": "a"}]'),
    "json: control characters": (".json", dumped([SCENE | {"name": "\x1b[2J\u202e\r\n"}])),
    "json: devices": (".json", dumped([SCENE | {"image": "/dev/zero", "audio": "/dev/tty"}])),
    "json: a folder of the system": (".json", dumped([SCENE | {"image": "/proc/self/mem"}])),
    "json: a long list of nothing": (".json", dumped([None] * 1_000_000)),
    "json: many scenes": (".json", dumped(many(4 * MAX_SCENES))),
    "json: one name": (".json", dumped([SCENE] * 20_000)),
    "csv: many scenes": (".csv", csv_of(["s,a.png,a.wav"] * (4 * MAX_SCENES))),
    "csv: a large cell": (".csv", csv_of([f'"{"x" * 5_000_000}",a.png,a.wav'])),
    "csv: many columns": (".csv", ",".join(["name"] * 1_000_000)),
    "csv: many cells": (".csv", csv_of(["," * 1_000_000])),
    "csv: a quote without an end": (".csv", csv_of(['"a' + "\n" * 1_000_000])),
    "csv: NUL": (".csv", csv_of(["a\0b,a.png,a.wav"])),
    "csv: formulas": (".csv", csv_of(["=1+1|x,a.png,a.wav"])),
    "no text": (".json", bytes(range(256)) * 100),
    "utf-16": (".csv", csv_of(["a,a.png,a.wav"]).encode("utf-16")),
    "half a character": (".yaml", b"- name: \xe4\xb8"),
    "a pipe": (".json", os.mkfifo),
    "a socket": (".yaml", listening),
    "a device": (".csv", lambda path: path.symlink_to("/dev/zero")),
    "a terminal": (".json", lambda path: path.symlink_to("/dev/ptmx")),
    "a loop of links": (".json", lambda path: path.symlink_to(path)),
    "a folder without scenes": (".json", os.mkdir),
    "a large file": (".yaml", sparse),
    "yaml 1.1 words": (".yaml", "- {name: 001, image: a.png, audio: a.wav, subtitle: ~}"),
    "gb18030": (".csv", csv_of(["场景,a.png,a.wav"]).encode("gb18030")),
    "odd names": (".json", dumped([SCENE | {"name": name} for name in ("-rf", "~", "=1+1", "@x")])),
}
TAKEN = {"yaml 1.1 words", "gb18030", "odd names"}
GATE = {
    "yaml: aliases of lists",
    "yaml: flow nested",
    "yaml: a python object",
    "json: nested",
    "json: control characters",
    "csv: many scenes",
    "a pipe",
    "a device",
    "gb18030",
}
"""Cases that are not nightly: of each way to harm, one that costs little."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AWS_SUBNET_ID", "RESULTS_DIR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 36), "teal").save(tmp_path / "a.png")
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    return tmp_path


@pytest.mark.timeout(60)  # ends the test run if a case hangs
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in GATE else pytest.mark.nightly) for case in CASES],
)
def test_a_hostile_file_is_refused_in_time(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ending, content = CASES[case]
    path = folder / f"scenes{ending}"
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    code = main(["plan", path.name])
    seconds = time.process_time() - began
    told = capsys.readouterr()
    said = told.out + told.err
    assert code == (0 if case in TAKEN else 2), said[:OUTPUT]
    assert seconds < SECONDS
    assert len(said) < OUTPUT
    assert "Traceback" not in said
    assert "\x1b[2J" not in said
    assert "\u202e" not in said
    if code:
        assert path.name in "".join(said.split()) or "expected" in said
    assert not (folder / "pwned").exists()
    assert not (folder / ".cloudburst").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable(folder / "scenes.json")
    assert main(["plan", "scenes.json"]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 34
