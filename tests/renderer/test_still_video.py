"""Videos without camera motion: every decoded frame shows the state that it must show."""

from __future__ import annotations

import ctypes
import logging
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import av
import pytest
from PIL import Image

from cloudburst.models.video_format import VideoFormat, VideoSize
from cloudburst.renderer import scene, still_video
from cloudburst.renderer.encoder import STILL_GOP_SECONDS, EncodedPicture, GopEncoder
from cloudburst.renderer.gops import Gop
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.planes import GREY, to_planes, uniform
from cloudburst.renderer.quantizers import STILL_TRIAL_QUANTIZER
from cloudburst.renderer.still_video import (
    PERIOD,
    SETTLED_FRAMES,
    RepetitionError,
    StillVideo,
    encoded_frames,
    skipped_pictures,
)
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.drawn_frames import (
    SMALL,
    BlockPainter,
    block_track,
    dark_gradient,
    decoded_luma,
    drawn_luma,
    encode_all,
    header,
    noise,
    photo,
    psnr,
    strict_decode_stream,
)
from support.h264 import annex_b, check_counters, picture_slices, read_sps
from support.video_probe import no_complaints

FULL = VideoSize(1920, 1080)
RIGHT_STATE = 32.0
"""Luma PSNR in dB that all frames of the right state exceed: the lowest found is 37.8. The highest
of a frame with another state is 23.3."""


def check_frames(
    gops: Sequence[Sequence[EncodedPicture]],
    picture: Image.Image,
    of_frame: Sequence[int],
    painter: BlockPainter,
) -> None:
    """Compare every decoded frame with the drawn frame of its state."""
    size, planes = VideoSize(*picture.size), to_planes(picture)
    drawn: dict[int, Image.Image] = {}
    count = 0
    with no_complaints():
        frames = zip(decoded_luma(gops, size), of_frame, strict=True)
        for frame, (found, state) in enumerate(frames):
            if state not in drawn:
                layers = [] if state % 5 == 4 else [painter.block(state)]
                drawn[state] = drawn_luma(planes, layers)
            ratio = psnr(found, drawn[state])
            assert ratio > RIGHT_STATE, f"frame {frame}, state {state}: {ratio:.1f} dB"
            count += 1
    assert count == len(of_frame)


def check_counters_of(gops: Sequence[Sequence[EncodedPicture]], size: VideoSize) -> None:
    sps = read_sps(annex_b(header(size))[0])
    slices = picture_slices((annex_b(p.data) for pictures in gops for p in pictures), sps)
    positions = [picture.position for pictures in gops for picture in pictures]
    assert check_counters(slices, positions, sps) == len(positions)


def check_video(
    lengths: Sequence[int],
    tmp_path: Path | None = None,
    picture: Image.Image | None = None,
    fps: int = 30,
) -> int:
    """Encode states of these lengths and check everything; return the size in bytes.

    With a folder, the ffmpeg program decodes the video too.
    """
    picture = photo(SMALL) if picture is None else picture
    size = VideoSize(*picture.size)
    track, of_frame = block_track(lengths, size)
    gops = encode_all(StillVideo(to_planes(picture), track, fps=fps), len(of_frame))
    assert [len(pictures) for pictures in gops[:-1]] == [STILL_GOP_SECONDS * fps] * (len(gops) - 1)
    assert all(
        [picture.position for picture in pictures] == list(range(len(pictures)))
        for pictures in gops
    )
    check_counters_of(gops, size)
    check_frames(gops, picture, of_frame, BlockPainter(size))
    if tmp_path:
        strict_decode_stream(gops, size, tmp_path / "still.h264")
    return sum(len(p.data) for pictures in gops for p in pictures)


def test_a_frame_of_another_state_is_noticed():
    """Otherwise the comparison of frames would show nothing."""
    planes, painter = to_planes(photo(SMALL)), BlockPainter(SMALL)
    states = [drawn_luma(planes, []), *(drawn_luma(planes, [painter.block(n)]) for n in range(45))]
    ratios = [psnr(one, other) for one, other in pairwise(states)]
    assert max(ratios) < RIGHT_STATE - 8


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("order", ["ascending", "descending", *range(4)])
def test_states_of_every_length_up_to_40_frames(order, tmp_path):
    """The 820 frames cross two borders of GOPs, at another place for each order."""
    lengths = list(range(1, 41))
    if order == "descending":
        lengths.reverse()
    elif isinstance(order, int):
        random.Random(order).shuffle(lengths)
    check_video(lengths, tmp_path)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 19, 20, 21, 299, 300, 301, 304, 305, 600, 601])
def test_a_single_state_of_any_length(frames):
    check_video([frames])


@pytest.mark.few(13, spread=True)
@pytest.mark.parametrize("first", [1, 2, 3, 4, 5, 20, 21])
@pytest.mark.parametrize("last", [1, 3, 4, 5, 16, 20, 21])
def test_first_and_last_states_of_few_frames(first, last):
    check_video([first, 17, last])


@pytest.mark.few(8, spread=True)
@pytest.mark.parametrize("change", [*range(295, 306), 599, 600, 601])
def test_a_state_may_change_at_any_frame_near_the_border_of_a_gop(change):
    check_video([change, 610 - change])


def test_a_state_may_last_for_several_gops(tmp_path):
    check_video([40, 900, 2, 1, 30], tmp_path)


def test_most_frames_of_a_long_state_are_repeated():
    track, _ = block_track([250], SMALL)
    (pictures,) = encode_all(StillVideo(to_planes(photo(SMALL)), track), 250)
    skipped = skipped_pictures(VideoFormat(SMALL))
    assert [p.data for p in pictures[4:]] == [skipped[n % PERIOD] for n in range(4, 250)]


def test_the_number_of_encoded_frames_leaves_a_multiple_of_the_period():
    for frames in range(1, 700):
        encoded = encoded_frames(frames)
        assert min(frames, SETTLED_FRAMES) <= encoded < SETTLED_FRAMES + PERIOD
        assert (frames - encoded) % PERIOD == 0


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [FULL, VideoSize(1080, 1920)])
def test_a_video_of_full_size(size, tmp_path):
    check_video([3, 21, 1], tmp_path, photo(size))


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("size", "fps"),
    [
        *(((240, 240), fps) for fps in (24, 25, 50, 60)),
        *(((1080, 1350), fps) for fps in (24, 60)),
        *(((4096, 240), fps) for fps in (25, 60)),
        *(((240, 4096), fps) for fps in (24, 50)),
    ],
)
def test_a_video_of_any_format(size, fps, tmp_path):
    """Two GOPs, and changes of the state at odd frames.

    The number of frames of a GOP depends on the frame rate only.
    """
    frames = STILL_GOP_SECONDS * fps
    lengths = [3, 21, 1, frames - 30, 45] if size == (240, 240) else [3, 21, 1, 40]
    check_video(lengths, tmp_path, photo(VideoSize(*size)), fps)


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [(4096, 2160), (4096, 4096), (240, 4096)])
def test_skipped_pictures_of_large_videos_are_repeated(size):
    skipped = skipped_pictures(VideoFormat(VideoSize(*size), 60))
    assert len(set(skipped)) == PERIOD


@pytest.mark.parametrize("make", [noise, dark_gradient], ids=lambda make: make.__name__)
def test_difficult_pictures(make, tmp_path):
    check_video([5, 30, 16, 25], tmp_path, make(VideoSize(272, 144)))


@pytest.mark.parametrize("make", [photo, noise, dark_gradient], ids=lambda make: make.__name__)
@pytest.mark.parametrize("quantizer", [20, 36])
def test_a_state_is_as_good_after_four_frames_as_after_twenty(make, quantizer):
    """The encoder would not improve it further, so it can be repeated from then on."""
    size = VideoSize(272, 144)
    planes, painter = to_planes(make(size)), BlockPainter(size)
    states = [[], [painter.block(1)], [], [painter.block(2)]]
    for last in range(len(states)):
        encoder = GopEncoder(VideoFormat(size), quantizer, still=True)
        frame = still_video.Frame(*size)
        pictures: list[EncodedPicture] = []
        for number, layers in enumerate(states[: last + 1]):
            frame.fill(planes)
            for layer in layers:
                frame.blend(layer)
            for _ in range(20 if number == last else SETTLED_FRAMES):
                pictures += encoder.add_p(frame.video)
        pictures += encoder.finish()
        shown = list(decoded_luma([pictures], size))[-20:]
        drawn = drawn_luma(planes, states[last])
        assert psnr(drawn, shown[SETTLED_FRAMES - 1]) > psnr(drawn, shown[-1]) - 0.1


def test_the_canvas_is_restored_in_any_order_of_gops():
    """A state whose layers are larger than those of the next one leaves nothing behind."""
    lengths = [280, 40, 290, 7, 3, 100]
    track, of_frame = block_track(lengths, SMALL)
    source = StillVideo(to_planes(photo(SMALL)), track)
    gops = [Gop(0, 0, 300), Gop(1, 300, 300), Gop(2, 600, 120)]
    found = {n: source.encode(gops[n], 20, lambda _frames: None) for n in (2, 0, 1)}
    check_frames([found[n] for n in range(3)], photo(SMALL), of_frame, BlockPainter(SMALL))


def test_equal_gops_are_encoded_once(monkeypatch):
    encoders = []

    class CountedEncoder(GopEncoder):
        def __init__(self, *args, **options) -> None:
            super().__init__(*args, **options)
            encoders.append(self)

    monkeypatch.setattr(still_video, "GopEncoder", CountedEncoder)
    source = StillVideo(to_planes(photo(SMALL)), SubtitleTrack())
    gops = encode_all(source, 3001)
    assert len(encoders) == 3  # skipped pictures, GOPs of 300 frames, and the last one of 1 frame
    assert len({tuple(pictures) for pictures in gops[:-1]}) == 1
    encode_all(source, 300)
    encode_all(source, 300, quantizer=24)
    assert len(encoders) == 5


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [VideoSize(640, 360), FULL, VideoSize(1080, 1920), SMALL])
def test_skipped_pictures_do_not_depend_on_the_picture(size):
    """They are made of a grey picture; a real one has the same pictures once it is settled."""
    frame = still_video.Frame(*size)
    frame.fill(to_planes(photo(size)))
    encoder = GopEncoder(VideoFormat(size), STILL_TRIAL_QUANTIZER, still=True)
    pictures: list[EncodedPicture] = []
    for _ in range(3 * PERIOD):
        pictures += encoder.add_p(frame.video)
    pictures += encoder.finish()
    skipped = skipped_pictures(VideoFormat(size))
    for picture in pictures[PERIOD:]:  # decoders ignore bits of the last byte
        assert picture.data[:-1] == skipped[picture.position % PERIOD][:-1]


@pytest.mark.parametrize("quantizer", [18, STILL_TRIAL_QUANTIZER, 36, 48])
def test_repeated_pictures_change_nothing_with_any_quantizer(quantizer):
    """They are made with one quantizer, which must not filter edges of pictures with another."""
    track, _ = block_track([100, 200], SMALL)
    gops = encode_all(StillVideo(to_planes(photo(SMALL)), track), 300, quantizer)
    shown = [image.tobytes() for image in decoded_luma(gops, SMALL)]
    encoded = encoded_frames(100)
    assert len(set(shown[encoded - 1 : 100])) == 1
    assert len(set(shown[100 + SETTLED_FRAMES - 1 :])) == 1


class Restless(GopEncoder):
    """Encoder that draws on each frame, so that no two of them are the same."""

    _added = 0

    def add_p(self, frame: av.VideoFrame) -> list[EncodedPicture]:
        self._added += 1
        ctypes.memset(frame.planes[0].buffer_ptr, self._added, 16)
        return super().add_p(frame)


def test_an_encoder_without_equal_skipped_pictures_is_noticed(monkeypatch):
    monkeypatch.setattr(still_video, "GopEncoder", Restless)
    with pytest.raises(RepetitionError, match="different pictures"):
        StillVideo(uniform(*SMALL, GREY), SubtitleTrack())


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (320, 180), (130, 98)])
def test_skipped_pictures_of_any_size_are_repeated(size, tmp_path):
    """They may differ in bits that decoders ignore."""
    assert len(set(skipped_pictures(VideoFormat(VideoSize(*size))))) == PERIOD
    if size[0] >= 64:
        check_video([21, 5, 30], tmp_path, photo(size))


@pytest.mark.parametrize("name", ["_MAX_SKIPPED_BYTES", "_COUNTER_BYTES"])
def test_each_check_of_the_skipped_pictures_is_needed(name, monkeypatch):
    skipped_pictures(VideoFormat(SMALL))
    monkeypatch.setattr(still_video, name, 4)
    with pytest.raises(RepetitionError):
        skipped_pictures(VideoFormat(SMALL))


def test_without_repetition_every_frame_is_encoded(caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(still_video, "GopEncoder", Restless)
    picture = photo(SMALL)
    track, of_frame = block_track([5, 170, 1, 24], SMALL)
    with caplog.at_level(logging.WARNING):
        source = scene._still_video(picture, None, len(of_frame), track, None, fps=30, encodes=True)
    assert isinstance(source, MotionVideo)
    assert "every frame of the picture is encoded" in caplog.text
    drawn: list[int] = []
    gops = [source.encode(gop, 20, drawn.append) for gop in source.gops(len(of_frame))]
    assert len(drawn) == len(of_frame)
    check_frames(gops, picture, of_frame, BlockPainter(SMALL))
    check_counters_of(gops, SMALL)
    strict_decode_stream(gops, SMALL, tmp_path / "plain.h264")
