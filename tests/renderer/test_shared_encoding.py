"""Encoding shared by processes: the same pictures, whatever happens to the other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from cloudburst.renderer.shared_encoding import GopEncoding, GopPlan
from support import assistant
from support.assistant import GOP_FRAMES, MOMENTS, RandomSource
from support.project import ROOT

PLAN = GopPlan(6 * GOP_FRAMES + 3, 20)


def encoding(folder: Path | None, source: RandomSource, plan: GopPlan = PLAN, counts=None):
    exchange = None if folder is None else plan.exchange(folder)
    return GopEncoding(source, plan, exchange, [].append if counts is None else counts.append)


EXPECTED = list(encoding(None, RandomSource()).in_order())


def start(folder: Path, moment: str, number: int = 1) -> subprocess.Popen[bytes]:
    if not (folder / "gops.json").exists():
        PLAN.write(folder)
    command = [sys.executable, assistant.__file__, str(folder), moment, str(number)]
    env = {"PYTHONPATH": f"{ROOT / 'src'}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


def finish(process: subprocess.Popen[bytes]) -> int:
    _, errors = process.communicate(timeout=30)
    assert not errors, errors.decode()
    return process.returncode


@pytest.mark.parametrize(
    ("seams", "firsts"),
    [
        ((0, 0), [0, 10, 20]),
        ((4, 0), [0, 4, 10, 20]),
        ((4, 7), [0, 4, 10, 18, 20]),
        ((10, 5), [0, 10, 20]),
        ((30, 25), [0, 10, 20]),
    ],
)
def test_groups_of_pictures_begin_at_the_seams_of_a_film(tmp_path, seams, firsts):
    plan = GopPlan(25, 20, *seams)
    plan.write(tmp_path)
    gops = GopPlan.read(tmp_path).gops(RandomSource())
    assert [gop.first for gop in gops] == firsts
    assert [gop.number for gop in gops] == [*range(len(firsts))]
    assert gops[-1].first + gops[-1].frames == 25


def test_one_process_encodes_each_gop_once(tmp_path):
    for folder in (None, tmp_path):
        source, counts = RandomSource(), []
        assert list(encoding(folder, source, counts=counts).in_order()) == EXPECTED
        assert source.encoded == list(range(7))
        assert counts == list(range(1, PLAN.frames + 1))


def test_a_process_takes_what_another_one_has_stored(tmp_path):
    encoding(tmp_path, RandomSource()).assist(lambda: True)
    source, counts = RandomSource(), []
    assert list(encoding(tmp_path, source, counts=counts).in_order()) == EXPECTED
    assert source.encoded == []
    assert counts == [*range(10, 61, 10), 63]
    assert {path.stat().st_size for path in tmp_path.glob("gops-*")} == {0}


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize("number", [1, 2, 7])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_that_is_killed_at_any_moment_changes_nothing(moment, number, tmp_path):
    assert finish(start(tmp_path, moment, number)) == -9
    source = RandomSource()
    assert list(encoding(tmp_path, source).in_order()) == EXPECTED
    ended = number if moment in ("stored", "closed") else number - 1
    if moment != "encoding":
        assert source.encoded == list(range(ended, 7))


def test_other_gops_are_encoded_while_another_process_has_the_next_one(tmp_path):
    """The process is killed in the end, and its GOP is encoded here."""
    helper = start(tmp_path, "wait")
    assert helper.stdout.readline() == b"claimed\n"
    found, source = [], RandomSource()
    counts: list[int] = []
    thread = Thread(
        target=lambda: found.extend(encoding(tmp_path, source, counts=counts).in_order())
    )
    thread.start()
    while len(source.encoded) < 6:
        thread.join(0.01)
    assert source.encoded == [1, 2, 3, 4, 5, 6]
    assert not found
    assert thread.is_alive()
    helper.kill()
    thread.join(10)
    assert found == EXPECTED
    assert source.encoded == [1, 2, 3, 4, 5, 6, 0]
    assert counts == sorted(counts)
    assert counts[-1] == PLAN.frames
    finish(helper)


def test_several_processes_encode_each_gop_once(tmp_path):
    helpers = [start(tmp_path, "never") for _ in range(3)]
    source = RandomSource()
    assert list(encoding(tmp_path, source).in_order()) == EXPECTED
    assert [finish(helper) for helper in helpers] == [0, 0, 0]
    others = [int(line) for line in (tmp_path / "encoded").read_text().split()]
    assert sorted(source.encoded + others) == list(range(7))


@pytest.mark.few(1)
@pytest.mark.parametrize("moment", MOMENTS)
def test_processes_may_be_killed_while_others_go_on(moment, tmp_path):
    helpers = [start(tmp_path, moment, 1), start(tmp_path, moment, 2), start(tmp_path, "never")]
    assert list(encoding(tmp_path, RandomSource()).in_order()) == EXPECTED
    for helper in helpers:
        assert finish(helper) in (0, -9)


def test_a_new_plan_shares_nothing_with_the_one_before(tmp_path):
    encoding(tmp_path, RandomSource()).assist(lambda: True)
    plan, source = GopPlan(PLAN.frames, 21), RandomSource()
    found = list(encoding(tmp_path, source, plan).in_order())
    assert source.encoded == list(range(7))
    assert found == list(encoding(None, RandomSource(), plan).in_order())
    assert found != EXPECTED


def test_assistance_ends_when_the_plan_is_replaced(tmp_path):
    """Otherwise a process would encode GOPs for minutes that nothing uses."""
    PLAN.write(tmp_path)

    class Replaced(RandomSource):
        def encode(self, gop, quantizer, progress):
            if gop.number == 2:
                GopPlan(PLAN.frames, 26).write(tmp_path)
            return super().encode(gop, quantizer, progress)

    source = Replaced()
    encoding(tmp_path, source).assist(lambda: PLAN.is_current(tmp_path))
    assert source.encoded == [0, 1, 2]


def test_a_plan_is_read_as_it_was_written(tmp_path):
    PLAN.write(tmp_path)
    assert GopPlan.read(tmp_path) == PLAN
    assert PLAN.is_current(tmp_path)
    other = GopPlan(1, 2)
    other.write(tmp_path)
    assert GopPlan.read(tmp_path) == other
    assert not PLAN.is_current(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gops.json"]
