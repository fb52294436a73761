"""States of subtitles: their frames, and layers that do not depend on the order of GOPs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.media.subtitles import Cue
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.subtitle_painter import SubtitlePainter
from cloudburst.renderer.subtitle_style import subtitle_style
from cloudburst.renderer.subtitle_track import SubtitleState, SubtitleTrack, subtitle_states
from support.drawn_frames import BlockPainter

FPS, FRAMES = 30, 90
SIZE = (480, 640)
FONT = find_font()


def painted_track(cues: list[Cue]) -> SubtitleTrack:
    # Eight cues of three lines have room in each part of the picture.
    style = subtitle_style(RenderOptions(background_box=False, font_size=12), *SIZE)
    painter = SubtitlePainter(cues, style, [FONT], *SIZE)
    return SubtitleTrack(subtitle_states(cues, FRAMES, FPS), painter)


def test_a_video_without_subtitles_has_one_state():
    track = SubtitleTrack()
    assert [tuple(state) for state in track.states(0, 1)] == [(0, 1)]
    assert [tuple(state) for state in track.states(300, 300)] == [(0, 300)]
    assert track.layers(0) == []


@given(st.sets(st.integers(1, 40)), st.integers(0, 45), st.integers(1, 45))
def test_states_of_a_part_are_those_of_its_frames(starts, first, frames):
    begins = [0, *sorted(starts)]
    track = SubtitleTrack([SubtitleState(begin, (begin,)) for begin in begins])
    of_frame = [sum(begin <= frame for begin in begins) - 1 for frame in range(100)]
    found = track.states(first, frames)
    assert all(state.frames > 0 for state in found)
    expanded = [state.number for state in found for _ in range(state.frames)]
    assert expanded == of_frame[first : first + frames]
    assert len({state.number for state in found}) == len(found)


TEXTS = ("A", "Hello world", "two\nlines", "字幕", "three\nshort\nlines", "wide " * 12)
CUES = st.lists(
    st.builds(
        lambda start, length, text, position: Cue(start, start + length, text, position),
        st.integers(0, 25).map(lambda n: 100 * n),
        st.integers(1, 20).map(lambda n: 100 * n),
        st.sampled_from(TEXTS),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=20)
@given(CUES, st.data())
def test_layers_do_not_depend_on_the_states_that_were_drawn_before(cues, data):
    """Two processes draw different GOPs, and both must place each cue as one process would."""
    track = painted_track(cues)
    numbers = [state.number for state in track.states(0, FRAMES)]
    expected = [list(track.layers(number)) for number in numbers]
    other = painted_track(cues)
    for number in data.draw(st.lists(st.sampled_from(numbers), max_size=12)):
        assert other.layers(number) == expected[number]


def test_a_cue_keeps_its_place_when_the_cue_below_it_ends():
    """If it were placed alone, it would lie at the bottom."""
    cues = [Cue(0, 1000, "first", 2), Cue(500, 2500, "second", 2), Cue(2000, 2900, "third", 2)]
    track = painted_track(cues)
    numbers = [state.number for state in track.states(0, FRAMES)]
    expected = [list(track.layers(number)) for number in numbers]
    alone = painted_track([cues[1]])
    assert alone.layers(1) != expected[2]
    for number in numbers:
        assert painted_track(cues).layers(number) == expected[number]


def chain(count: int) -> list[SubtitleState]:
    """Return states that all show cue 0, and one further cue each."""
    return [SubtitleState(10 * n, (0, n + 1)) for n in range(count)]


def test_a_state_is_painted_once_for_the_gops_that_it_covers():
    painter = BlockPainter(SIZE)
    track = SubtitleTrack(chain(3), painter)
    for number in (0, 0, 1, 1, 1, 2):
        track.layers(number)
    assert painter.painted == [(0, 1), (0, 2), (0, 3)]
    assert painter.placed == []


@pytest.mark.parametrize("step", [2, 7])
def test_states_that_another_process_encodes_are_placed_once(step):
    """With a cue that lasts for the whole video, the work would otherwise grow with the square of
    the number of states."""
    painter = BlockPainter(SIZE)
    track = SubtitleTrack(chain(50), painter)
    for number in range(0, 50, step):
        track.layers(number)
    drawn = list(range(0, 50, step))
    assert painter.painted == [(0, number + 1) for number in drawn]
    assert painter.placed == [(0, n + 1) for n in range(drawn[-1]) if n not in drawn]


def test_a_jump_back_paints_only_what_is_visible_without_interruption():
    painter = BlockPainter(SIZE)
    states = [SubtitleState(0, (1,)), SubtitleState(9, (2,)), SubtitleState(20, (2, 3))]
    track = SubtitleTrack([*states, SubtitleState(30, ()), SubtitleState(40, (4,))], painter)
    track.layers(4)
    assert track.layers(3) == []
    track.layers(2)
    track.layers(0)
    assert painter.painted == [(4,), (2, 3), (1,)]
    assert painter.placed == [(2,)]
