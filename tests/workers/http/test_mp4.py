"""Complete videos are distinguished from incomplete ones."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.workers.http.mp4 import find_playback_problem
from support.fake_native_service import mp4

WHOLE = mp4(b"pictures" * 10)


def judge(content):
    return find_playback_problem(io.BytesIO(content), len(content))


def box(kind, length, content=b""):
    return length.to_bytes(4) + kind + content


def test_a_complete_video():
    assert judge(WHOLE) is None


def test_no_incomplete_video_passes():
    assert all(judge(WHOLE[:length]) for length in range(len(WHOLE)))


def test_lengths_of_eight_bytes_and_to_the_end():
    head = WHOLE[: WHOLE.index(b"mdat") - 4]
    assert judge(head + box(b"mdat", 1, (20).to_bytes(8) + b"abcd")) is None
    assert judge(head + box(b"mdat", 1, (21).to_bytes(8) + b"abcd")) is not None
    assert judge(head + box(b"mdat", 0, b"abcd")) is None


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["moov", "ftyp", "mdat"], "does not begin with ftyp"),
        (["ftyp", "mdat", "moov"], "does not come before"),
        (["ftyp", "mdat"], "does not come before"),
        (["ftyp", "moov"], "lacks moov or mdat: ftyp, moov"),
    ],
)
def test_the_order_of_boxes_matters(order, message):
    assert message in judge(mp4(order=order))


@given(st.binary(max_size=200), st.booleans())
def test_any_content_is_handled(content, continues):
    judge(WHOLE + content if continues else content)
