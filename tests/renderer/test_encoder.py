"""The H.264 encoder: the same parameter sets for all videos, and closed GOPs."""

from __future__ import annotations

from itertools import permutations

import pytest

from cloudburst.models.video_format import Effect, VideoFormat, VideoSize
from cloudburst.renderer.encoder import (
    MOTION_GOP_SECONDS,
    STILL_GOP_SECONDS,
    EncodedPicture,
    GopEncoder,
    without_settings,
)
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import Gop, GopSource, divide
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.planes import to_planes, uniform
from cloudburst.renderer.still_video import StillVideo
from support.drawn_frames import (
    SMALL,
    block_track,
    decoded_luma,
    header,
    photo,
    psnr,
    strict_decode_stream,
)
from support.h264 import IDR, SEI, annex_b, check_counters, picture_slices, read_pps, read_sps

MOTION_GOP_FRAMES, STILL_GOP_FRAMES = MOTION_GOP_SECONDS * 30, STILL_GOP_SECONDS * 30
LANDSCAPE, PORTRAIT = VideoSize(1920, 1080), VideoSize(1080, 1920)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("quantizer", [1, 19, 20, 21, 26, 27, 36, 48, 51])
def test_parameter_sets_do_not_depend_on_quantizer_and_motion(quantizer, still):
    assert header(SMALL, quantizer, still=still) == header(SMALL)


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
def test_the_parameter_sets_are_those_of_every_video(size):
    units = annex_b(header(size))
    assert len(units) == 2
    assert header(size, 48, still=True) == header(size)
    sps, pps = read_sps(units[0]), read_pps(units[1])
    assert (sps.profile_idc, sps.level_idc) == (100, 40)
    assert sps.size == size
    assert sps.sar == (1, 1)
    assert (sps.colour, sps.full_range) == ((1, 1, 1), 0)  # BT.709, limited range
    assert (sps.max_num_ref_frames, sps.max_num_reorder_frames) == (2, 1)  # one in each direction
    assert (pps.cabac, pps.pic_init_qp, pps.weighted_pred) == (1, 26, 0)


def test_the_counters_have_the_sizes_that_still_videos_need():
    sps = read_sps(annex_b(header(LANDSCAPE))[0])
    assert sps.pic_order_cnt_type == 0
    assert (sps.log2_max_frame_num, sps.log2_max_pic_order_cnt_lsb) == (4, 5)


def motion_gop(frames: int, quantizer: int = 20, *, reuse: bool = True):
    """Encode a zoom; return the drawn frames and the pictures."""
    source = Frame(*SMALL)
    source.fill(to_planes(photo(SMALL)))
    encoder = GopEncoder(VideoFormat(SMALL), quantizer)
    kept, pictures, canvas = [], [], Frame(*SMALL)
    for number in range(frames):
        if not reuse:
            canvas = Frame(*SMALL)
            kept.append(canvas)
        canvas.zoom_from(source, Camera(Effect.ZOOM_IN, SMALL).window(number, frames))
        pictures += encoder.add(canvas.video)
    return kept, pictures + encoder.finish()


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 6, 7, 12, 13, 31, 150])
def test_a_gop_is_closed_and_its_counters_are_continuous(frames, tmp_path):
    _, pictures = motion_gop(frames)
    sps = read_sps(annex_b(header(SMALL))[0])
    slices = list(picture_slices((annex_b(picture.data) for picture in pictures), sps))
    positions = [picture.position for picture in pictures]
    assert sorted(positions) == list(range(frames))
    assert check_counters(slices, positions, sps) == frames
    assert [found.nal_unit_type == IDR for found in slices] == [True] + [False] * (frames - 1)
    assert all(found.nal_ref_idc == 0 for found in slices if found.slice_type == 1)  # no pyramid
    # Decoding times are one frame ahead, so each picture is decoded before it is displayed.
    assert all(order - 1 <= position for order, position in enumerate(positions))
    strict_decode_stream([pictures], SMALL, tmp_path / "gop.h264")


def test_long_gops_have_b_pictures():
    """They halve the size of a moving picture, and need the distance of one frame."""
    _, pictures = motion_gop(31)
    sps = read_sps(annex_b(header(SMALL))[0])
    slices = list(picture_slices((annex_b(picture.data) for picture in pictures), sps))
    assert [found.slice_type for found in slices].count(1) == 25
    assert any(order - 1 == picture.position for order, picture in enumerate(pictures))


def test_a_frame_can_be_drawn_on_again_as_soon_as_it_was_added():
    """The encoder still holds earlier frames then, for B pictures."""
    _, pictures = motion_gop(31)
    kept, separate = motion_gop(31, reuse=False)
    assert len(kept) == 31
    assert pictures == separate


@pytest.mark.parametrize("quantizer", [12, 20, 30, 44])
def test_a_lower_quantizer_is_closer_to_the_drawn_frames_and_larger(quantizer):
    from support.drawn_frames import luma

    kept, pictures = motion_gop(13, quantizer, reuse=False)
    _, coarser = motion_gop(13, quantizer + 6)
    drawn = [luma(frame.video) for frame in kept]
    found = list(decoded_luma([pictures], SMALL))
    coarse = list(decoded_luma([coarser], SMALL))
    assert len(found) == len(coarse) == 13
    ratios = [psnr(*pair) for pair in zip(drawn, found, strict=True)]
    assert min(ratios) > {12: 42, 20: 35, 30: 29, 44: 20}[quantizer]
    assert sum(ratios) > sum(psnr(*pair) for pair in zip(drawn, coarse, strict=True))
    assert sum(len(p.data) for p in pictures) > sum(len(p.data) for p in coarser)


def moving() -> MotionVideo:
    frames = 2 * MOTION_GOP_FRAMES + 40
    track, _ = block_track([7, 140, 60, 90, 43], SMALL)
    return MotionVideo(
        to_planes(photo(SMALL)),
        frames,
        Camera(Effect.PAN_LEFT, SMALL),
        None,
        track,
    )


def still() -> StillVideo:
    track, _ = block_track([7, 290, 60, 290, 23], SMALL)
    return StillVideo(to_planes(photo(SMALL)), track)


def same_still() -> StillVideo:
    track, _ = block_track([670], SMALL)
    return StillVideo(to_planes(photo(SMALL)), track)


@pytest.mark.parametrize("make", [moving, still, same_still])
def test_the_bytes_of_a_gop_do_not_depend_on_other_gops(make):
    """Other processes encode them in another order, after a change of the quantizer too."""

    def encode(source: GopSource, gop: Gop, quantizer: int = 20) -> list[EncodedPicture]:
        return source.encode(gop, quantizer, lambda _frames: None)

    length = STILL_GOP_FRAMES if make is not moving else MOTION_GOP_FRAMES
    gops = divide(2 * length + 40, length)
    alone = {gop: encode(make(), gop) for gop in gops}
    for order in permutations(gops):
        source = make()
        encode(source, order[-1], 31)
        assert {gop: encode(source, gop) for gop in order} == alone
        assert encode(source, order[0]) == alone[order[0]]


def test_progress_counts_up_to_the_length_of_the_gop():
    for source, gop in ((moving(), Gop(1, 150, 150)), (still(), Gop(1, 300, 300))):
        counts: list[int] = []
        source.encode(gop, 20, counts.append)
        assert counts == sorted(counts)
        assert counts[-1] == gop.frames


SETTINGS = b"\6\5\x10uuid uuid uuid 1\x80"
SLICE = b"\x65\x88\x84\0\0\3\1"


@pytest.mark.parametrize("first", [b"\0\0\1", b"\0\0\0\1"])
@pytest.mark.parametrize("second", [b"\0\0\1", b"\0\0\0\1"])
def test_settings_are_removed_with_any_start_code(first, second):
    assert without_settings(first + SETTINGS + second + SLICE) == second + SLICE


@pytest.mark.parametrize("start", [b"\0\0\1", b"\0\0\0\1"])
@pytest.mark.parametrize("unit", [SLICE, b"\x41\x9a", b"\x01\x9a"])
def test_pictures_without_settings_stay_as_they_are(start, unit):
    assert without_settings(start + unit) == start + unit


@pytest.mark.parametrize("is_still", [True, False])
def test_only_the_first_picture_of_an_encoder_has_settings(is_still):
    frame = Frame(*SMALL)
    frame.fill(to_planes(photo(SMALL)))
    encoder = GopEncoder(VideoFormat(SMALL), 20, still=is_still)
    pictures = []
    for _ in range(9):
        pictures += encoder.add_p(frame.video) if is_still else encoder.add(frame.video)
    pictures += encoder.finish()
    kinds = [[unit[0] & 0x1F for unit in annex_b(picture.data)] for picture in pictures]
    assert kinds == [[SEI, IDR]] + [[1]] * 8
    stripped = [EncodedPicture(without_settings(p.data), p.position) for p in pictures]
    assert [annex_b(p.data) for p in stripped] == [annex_b(p.data)[-1:] for p in pictures]
    shown = [image.tobytes() for image in decoded_luma([stripped], SMALL)]
    assert shown == [image.tobytes() for image in decoded_luma([pictures], SMALL)]


def test_a_large_video_keeps_fewer_frames_and_has_the_same_pictures():
    frame, found = Frame(2048, 1088), []
    frame.fill(uniform(2048, 1088, (90, 110, 140)))
    for only_p in (False, True):
        encoder = GopEncoder(VideoFormat(VideoSize(2048, 1088)), 20, only_p=only_p)
        encoded = [encoder.add_p(frame.video, 6 * number) for number in range(8)]
        found.append([picture for some in encoded for picture in some] + encoder.finish())
    usual, fewer = found
    assert [picture.position for picture in fewer] == [6 * number for number in range(8)]
    assert fewer[1:] == usual[1:]
    assert without_settings(fewer[0].data) == without_settings(usual[0].data)
