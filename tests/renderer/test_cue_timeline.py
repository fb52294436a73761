"""Which cues each frame shows."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models.subtitles import Cue
from cloudburst.renderer.cue_timeline import subtitle_states


def states(*times, frames=300, fps=30):
    cues = [Cue(start, end, f"cue {index}") for index, (start, end) in enumerate(times)]
    return [tuple(state) for state in subtitle_states(cues, frames, fps)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], [(0, ())]),
        ([(0, 1000)], [(0, (0,)), (30, ())]),
        ([(1000, 2000)], [(0, ()), (30, (0,)), (60, ())]),
        # Frame 3 is at 100 ms: shown by a cue that begins there, not by one that ends there.
        ([(33, 100)], [(0, ()), (1, (0,)), (3, ())]),
        ([(34, 101)], [(0, ()), (2, (0,)), (4, ())]),
        # Between two frames: never shown.
        ([(34, 66)], [(0, ())]),
        ([(0, 500), (500, 1000)], [(0, (0,)), (15, (1,)), (30, ())]),
        ([(0, 1000), (500, 2000)], [(0, (0,)), (15, (0, 1)), (30, (1,)), (60, ())]),
        # In the order of their begin, not of the file.
        ([(500, 1000), (0, 1000)], [(0, (1,)), (15, (1, 0)), (30, ())]),
        ([(9000, 99_000)], [(0, ()), (270, (0,))]),
        ([(10_000, 11_000)], [(0, ())]),
    ],
)
def test_states(times, expected):
    assert states(*times) == expected


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 2000)), max_size=8),
    st.integers(1, 90),
    st.sampled_from([24, 25, 30]),
)
def test_each_frame_shows_the_cues_of_its_time(times, frames, fps):
    cues = [Cue(start, start + length, f"{index}") for index, (start, length) in enumerate(times)]
    found = subtitle_states(cues, frames, fps)
    assert found[0].first_frame == 0
    for frame in range(frames):
        shown = [state for state in found if state.first_frame <= frame][-1].shown
        moment = Fraction(1000 * frame, fps)
        assert sorted(shown) == [
            index for index, cue in enumerate(cues) if cue.start <= moment < cue.end
        ]
    for before, after in pairwise(found):
        assert before.first_frame < after.first_frame < frames
        assert before.shown != after.shown


def test_a_repeated_text_is_no_new_state():
    cues = [Cue(0, 500, "a"), Cue(500, 990, "a"), Cue(990, 1500, "a", 8), Cue(1500, 2000, "b")]
    found = subtitle_states(cues, 300, 30)
    assert found == [(0, (0,)), (30, (2,)), (45, (3,)), (60, ())]


def test_equal_cues_at_the_same_time_are_all_shown():
    assert subtitle_states([Cue(0, 500, "a")] * 2, 30, 30)[0].shown == (0, 1)


def test_many_cues_take_little_time():
    cues = [Cue(40 * n, 40 * n + 2000, f"{n}") for n in range(100_000)]  # 50 at once
    began = time.process_time()
    found = subtitle_states(cues, 100_000 * 40 * 30 // 1000, 30)
    assert len(found) > 90_000
    assert time.process_time() - began < 8  # 1 s alone on a machine of 2026
