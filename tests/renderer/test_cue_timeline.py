"""Which cues each frame shows."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.media.subtitles import Cue, Word
from cloudburst.renderer.subtitle_track import subtitle_states


def states(*times, frames=300, fps=30):
    cues = [Cue(start, end, f"cue {index}") for index, (start, end) in enumerate(times)]
    return [state[:2] for state in subtitle_states(cues, frames, fps)]


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
    assert [state[:2] for state in found] == [(0, (0,)), (30, (2,)), (45, (3,)), (60, ())]


def test_equal_cues_at_the_same_time_are_all_shown():
    assert subtitle_states([Cue(0, 500, "a")] * 2, 30, 30)[0].shown == (0, 1)


def test_many_cues_take_little_time():
    cues = [Cue(40 * n, 40 * n + 2000, f"{n}") for n in range(40_000)]  # 50 at once
    began = time.process_time()
    found = subtitle_states(cues, 40_000 * 40 * 30 // 1000, 30)
    assert len(found) > 36_000
    assert time.process_time() - began < 4  # 0.4 s alone on a machine of 2026


def worded(start, end, *words, text="abcdef"):
    """A cue with words of these times."""
    return Cue(start, end, text, words=tuple(Word(*word, n, n + 1) for n, word in enumerate(words)))


@pytest.mark.parametrize(
    ("cues", "expected"),
    [
        # A pause between two words, and a last word that ends before the cue.
        (
            [worded(0, 1000, (100, 200), (300, 400))],
            [(0, (0,), ()), (3, (0,), (0,)), (6, (0,), ()), (9, (0,), (1,)), (12, (0,), ())],
        ),
        # One word directly after the other, from the first frame to the last.
        ([worded(0, 1000, (0, 500), (500, 1000))], [(0, (0,), (0,)), (15, (0,), (1,))]),
        # A word between two frames is never current, and its neighbours are.
        ([worded(0, 200, (0, 34), (34, 66), (66, 200))], [(0, (0,), (0,)), (2, (0,), (2,))]),
        # Two cues at once, each with its own word.
        (
            [
                worded(0, 400, (0, 100), (100, 300)),
                Cue(100, 300, "x"),
                worded(200, 400, (200, 400)),
            ],
            [
                (0, (0,), (0,)),
                (3, (0, 1), (1, -1)),
                (6, (0, 1, 2), (1, -1, 0)),
                (9, (0, 2), (-1, 0)),
            ],
        ),
        # The same text again, with words: it is a cue of its own.
        (
            [worded(0, 100, (0, 100)), worded(100, 200, (100, 200))],
            [(0, (0,), (0,)), (3, (1,), (0,))],
        ),
        # Words after the end of the video, and words of cues that are never shown.
        (
            [worded(0, 9000, (900, 1100)), worded(500, 500, (500, 500))],
            [(0, (0,), ()), (27, (0,), (0,))],
        ),
    ],
)
def test_states_change_with_words(cues, expected):
    frames = max(1, min(30, max(cue.end for cue in cues) * 30 // 1000))
    states = subtitle_states(cues, frames, 30, with_words=True)
    assert [state[:3] for state in states] == expected
    plain = subtitle_states(cues, frames, 30)
    assert [state.words for state in plain] == [()] * len(plain)


@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.lists(st.tuples(st.integers(0, 90), st.integers(1, 90)))),
        max_size=4,
    ),
    st.sampled_from([24, 30]),
)
def test_each_frame_has_the_words_of_its_time(given_cues, fps):
    cues, frames = [], fps * 2
    for number, (start, steps) in enumerate(given_cues):
        words, at = [], start
        for pause, length in steps:
            words.append((at + pause, at + pause + length))
            at += pause + length
        cues.append(worded(start, at + 10, *words, text=f"{number}"))
    found = subtitle_states(cues, frames, fps, with_words=True)
    for frame in range(frames):
        state = [state for state in found if state.first_frame <= frame][-1]
        moment = Fraction(1000 * frame, fps)
        for place, index in enumerate(state.shown):
            now = [n for n, w in enumerate(cues[index].words) if w.start <= moment < w.end]
            assert (state.words[place] if state.words else -1) == (now[0] if now else -1)
    for before, after in pairwise(found):
        assert before[1:] != after[1:]
    shown = [state[:2] for state in subtitle_states(cues, frames, fps)]
    merged = [found[0][:2]]
    merged += [after[:2] for before, after in pairwise(found) if before.shown != after.shown]
    assert merged == shown


def test_many_words_take_little_time():
    words = tuple(Word(40 * n, 40 * n + 40, n % 9, n % 9 + 1) for n in range(4_000))
    cues = [Cue(0, 160_000, "abcdefghi", words=words)] * 25
    began = time.process_time()
    found = subtitle_states(cues, 4_800, 30, with_words=True)
    assert len(found) > 3_200
    assert time.process_time() - began < 1.25  # 0.2 on an idle core
