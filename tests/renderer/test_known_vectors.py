"""B pictures of known vectors: what decoders show, how groups are planned, and the bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from cloudburst.models.video_format import Effect, VideoFormat, VideoSize
from cloudburst.renderer import known_vectors
from cloudburst.renderer.encoder import EncodedPicture, GopEncoder
from cloudburst.renderer.fades import FadedTrack, Fades
from cloudburst.renderer.kernel.interface import (
    EARLIER,
    FIXED,
    LATER,
    BPicture,
    Motion,
    Rectangle,
)
from cloudburst.renderer.kernel.library import load_kernel
from cloudburst.renderer.known_vectors import Scenery, Spacing, choose_spacing, with_order
from cloudburst.renderer.motion import Camera, Window
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.planes import Layer, to_picture_layer, to_planes
from cloudburst.renderer.quantizers import Trial
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.drawn_frames import (
    block_track,
    decoded_luma,
    encode_all,
    header,
    luma,
    photo,
    psnr,
    see_through,
    strict_decode,
)
from support.h264 import annex_b, check_counters, picture_slices, read_sps
from support.openh264 import check_same_frames

SIZE = VideoSize(320, 192)
B_SLICE = 1


def video(
    frames: int = 75,
    effect: str = "zoom_in",
    *,
    size: VideoSize = SIZE,
    amount: float = 0.1,
    track: SubtitleTrack | None = None,
    mark: Layer | None = None,
    search: bool = False,
    fps: int = 30,
    **camera,
) -> MotionVideo:
    moving = Camera(Effect(effect), size, amount, **camera)
    picture, subtitles = to_planes(photo(size)), track or SubtitleTrack()
    return MotionVideo(picture, frames, moving, mark, subtitles, fps=fps, search=search)


def kinds(pictures: Sequence[EncodedPicture], size: VideoSize = SIZE) -> list[int]:
    """Return the types of the slices of a GOP; check its counters."""
    sps = read_sps(annex_b(header(size))[0])
    units = [annex_b(picture.data) for picture in pictures]
    positions = [picture.position for picture in pictures]
    assert check_counters(picture_slices(units, sps), positions, sps) == len(pictures)
    return [found.slice_type for found in picture_slices(units, sps)]


def likeness(source: MotionVideo, gops: Sequence[Sequence[EncodedPicture]], size=SIZE):
    """Return the PSNR of each frame, compared with the drawn one."""
    return [
        psnr(found, luma(source.draw(number).video))
        for number, found in enumerate(decoded_luma(gops, size))
    ]


def written(shift: float = 0.0, grow: float = 0.0, **changes) -> bytes:
    motions = Motion(shift, 0.5, grow), Motion(-shift, -0.5, -grow)
    picture = BPicture((333, 111), 3, 7, 32, motions, bytes(21 * 7))._replace(**changes)
    return load_kernel().write_b_picture(picture)


MARK = to_picture_layer(see_through((60, 40)), 10, 6)
MOVEMENTS = {
    "zoom in": {},
    "zoom out": {"effect": "zoom_out", "amount": 0.3},
    "fast pan": {"effect": "pan_left", "amount": 0.5},
    "eased pan": {"effect": "pan_down", "easing": "ease_in_out"},
    "off the centre": {"focus": (0.1, 0.9), "easing": "ease_out"},
    "text": {
        "effect": "pan_up",
        "easing": "ease_in",
        "track": block_track([20, 31, 24], SIZE)[0],
    },
    "watermark": {"effect": "pan_right", "mark": MARK},
    "odd size": {"size": VideoSize(242, 250), "fps": 24},
    "widest row": {"size": VideoSize(4096, 16)},
    "one reference": {"effect": "pan_left", "amount": 0.5, "nearest": True, "mark": MARK},
}


def encoded(movement, distance, monkeypatch):
    """Return a video with this distance of P pictures, also below text, and its GOPs."""
    options = dict(movement)
    spacing = Spacing(distance, 0, options.pop("nearest", False))
    monkeypatch.setattr(known_vectors, "choose_spacing", lambda _: spacing)
    monkeypatch.setattr(known_vectors, "_MAX_STILL_SHIFT", 1.0)
    source = video(**options)
    return source, encode_all(source, 75, 16)


def write_stream(gops: Sequence[Sequence[EncodedPicture]], size: VideoSize, path: Path) -> Path:
    path.write_bytes(header(size) + b"".join(part.data for gop in gops for part in gop))
    return path


@pytest.mark.few(10, spread=True)
@pytest.mark.parametrize("distance", [6, 12, 16])
@pytest.mark.parametrize("movement", MOVEMENTS.values(), ids=MOVEMENTS)
def test_the_frames_are_those_that_were_drawn(movement, distance, monkeypatch, tmp_path):
    size = movement.get("size", SIZE)
    source, gops = encoded(movement, distance, monkeypatch)
    assert all(kinds(pictures, size).count(B_SLICE) >= 60 for pictures in gops)
    assert strict_decode(write_stream(gops, size, tmp_path / "video.h264"), "-f", "h264") == b""
    found = likeness(source, gops, size)
    assert len(found) == 75
    # Vectors of one reference are not exact, so it is only for smooth pictures.
    assert min(found) > (25 if {"track", "nearest"} & movement.keys() else 33)


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize("distance", [6, 12, 16])
@pytest.mark.parametrize("movement", MOVEMENTS.values(), ids=MOVEMENTS)
def test_other_decoders_show_the_same_frames(movement, distance, monkeypatch, tmp_path):
    size = movement.get("size", SIZE)
    _, gops = encoded(movement, distance, monkeypatch)
    assert check_same_frames(write_stream(gops, size, tmp_path / "video.h264")) == 75


def test_each_group_can_be_shown_alone():
    """A player that seeks starts at a key frame, also if pictures refer to later ones."""
    source = video(190, "pan_left", amount=0.5, easing="ease_in")  # the second group is faster
    gops = encode_all(source, 190)
    assert min(likeness(source, gops)) > 33
    whole = [frame.tobytes() for frame in decoded_luma(gops, SIZE)]
    assert [frame.tobytes() for frame in decoded_luma(gops[1:], SIZE)] == whole[150:]


@pytest.mark.few(1)
@pytest.mark.parametrize(("frames", "amount"), [(24, 0.1), (120, 0.1), (300, 0.2)])
def test_pictures_are_at_least_as_close_as_those_of_libx264_and_not_larger(frames, amount):
    source, other = (video(frames, amount=amount, search=search) for search in (False, True))
    found, usual = (encode_all(one, frames, 20) for one in (source, other))
    means = [sum(likeness(source, gops)) / frames for gops in (found, usual)]
    assert means[0] > means[1]
    sizes = [sum(len(part.data) for gop in gops for part in gop) for gops in (found, usual)]
    assert sizes[0] < 1.1 * sizes[1]


@pytest.mark.parametrize("nearest", [False, True])
def test_the_edges_are_taken_from_the_picture_that_has_them(nearest, monkeypatch):
    movement = {"effect": "pan_left", "amount": 0.5, "nearest": nearest}
    source, gops = encoded(movement, 12, monkeypatch)
    width, height = SIZE
    for number, found in enumerate(decoded_luma(gops, SIZE)):
        drawn = luma(source.draw(number).video)
        for edge in ((0, 0, 16, height), (width - 16, 0, width, height)):
            assert psnr(found.crop(edge), drawn.crop(edge)) > 40


def test_text_does_not_leave_its_place(monkeypatch):
    """Also where it appears and vanishes between two P pictures, and beside it."""
    track, _ = block_track([20, 35, 20], SIZE)
    source, gops = encoded({"effect": "pan_left", "track": track}, 12, monkeypatch)
    areas = [
        (layer.x, layer.y, layer.x + layer.width, layer.y + layer.height)
        for frame in range(75)
        for layer in track.layers_at(frame)
    ]
    for number, found in enumerate(decoded_luma(gops, SIZE)):
        drawn = luma(source.draw(number).video)
        assert psnr(found.crop(areas[number]), drawn.crop(areas[number])) > 24


def test_a_fade_and_fast_words_are_left_to_libx264():
    fades = Fades(20, 10, 100)
    source = video(100, track=FadedTrack(SubtitleTrack(), fades, SIZE))
    assert [gop.frames for gop in source.gops(100)] == [20, 70, 10]
    faded, known, _ = encode_all(source, 100)
    usual = video(100, track=FadedTrack(SubtitleTrack(), fades, SIZE), search=True)
    assert faded == encode_all(usual, 100)[0]
    assert kinds(known).count(B_SLICE) > 60
    words = video(60, track=block_track([2] * 30, SIZE)[0])
    assert encode_all(words, 60) == encode_all(
        video(60, track=block_track([2] * 30, SIZE)[0], search=True), 60
    )


def test_a_movement_that_is_too_fast_is_left_to_libx264():
    assert encode_all(video(6, "pan_left", amount=0.5), 6) == encode_all(
        video(6, "pan_left", amount=0.5, search=True), 6
    )


GOLDEN_SIZES = [12, 13, 177, 142, 25, 12]
GOLDEN_HASH = "a9ae1e7aece26c53"


@pytest.mark.parametrize(
    ("trial", "spacing"),
    [
        (Trial(14, 0.05), (8, 0, True)),
        (Trial(17, 0.05), (12, 0, False)),
        (Trial(20, 0.2), (12, 3, False)),
        (Trial(24, 0.4), (8, 2, False)),
    ],
)
def test_hard_edges_get_more_p_pictures(trial, spacing):
    assert choose_spacing(trial) == spacing


def test_vectors_of_smooth_pictures_are_those_of_one_reference(monkeypatch):
    planned = known_vectors.plan(scenery(0.3), VideoSize(1920, 1080), 14, Trial(14, 0.05))
    assert planned is not None
    assert planned.nearest
    both, one = (
        sum(
            len(picture.data)
            for gop in encoded({"amount": 0.3, "nearest": nearest}, 12, monkeypatch)[1]
            for picture, kind in zip(gop, kinds(gop, SIZE), strict=True)
            if kind == B_SLICE
        )
        for nearest in (False, True)
    )
    assert one < 0.8 * both


def scenery(speed: float, frames: int = 97, states: Sequence[int] = (), texts=((),)) -> Scenery:
    windows = [Window(speed * frame, 0.0, 1.0) for frame in range(frames)]
    return Scenery(windows, states or [0] * frames, texts, ())


DETAILED = Trial(20, 0.2)
TEXT = (Rectangle(0, 0, 50, 20),)


@pytest.mark.parametrize(
    ("seen", "quantizer", "distances"),
    [
        pytest.param(scenery(0.3), 17, {12}, id="usual"),
        pytest.param(scenery(0.01), 20, {16}, id="slow"),
        pytest.param(scenery(6.5), 20, {9}, id="fast"),
        pytest.param(scenery(0.3, texts=(TEXT,)), 20, {8}, id="text"),
        pytest.param(scenery(0.6, texts=(TEXT,)), 21, {4}, id="fast under text"),
        pytest.param(scenery(0.3, 97, [0] * 10 + [1] * 87, ((), TEXT)), 20, {8, 2}, id="change"),
    ],
)
def test_the_distance_of_p_pictures_follows_from_the_speed_and_from_text(
    seen, quantizer, distances
):
    size = VideoSize(1920, 1080)
    found = known_vectors.plan(seen, size, 20, DETAILED)
    assert found is not None
    assert found.references[0] == 0
    assert found.references[-1] == len(seen.windows) - 1
    between = {after - before for before, after in pairwise(found.references)}
    assert max(between) == max(distances)
    assert found.quantizer == quantizer
    again = known_vectors.plan(seen, size, 26, DETAILED)
    assert again is not None
    assert again.quantizer == max(quantizer, 20) + 6, "the first one made too many bytes"
    if any(seen.texts):
        assert known_vectors.plan(seen, VideoSize(480, 270), 20, DETAILED) is None, "too far there"
    changes = {n for n in range(1, len(seen.states)) if seen.states[n] != seen.states[n - 1]}
    assert changes <= set(found.references)


def test_macroblocks_near_text_stand_still_as_far_as_the_picture_moves():
    """Others would take letters from beside them: here 20 samples away, and 3 for the filter."""
    area = (Rectangle(64, 64, 32, 16),)
    blocks = known_vectors.still_blocks(scenery(10.0, 3, texts=(area,)), 0, 2, SIZE)
    marked = scenery(10.0, 3)._replace(marks=area)
    assert known_vectors.still_blocks(marked, 0, 2, SIZE) == blocks
    rows = [blocks[start : start + 20] for start in range(0, len(blocks), 20)]
    still = bytes([0] * 2 + [LATER + EARLIER + FIXED] * 6 + [0] * 12)
    assert rows == [bytes(20)] * 2 + [still] * 5 + [bytes(20)] * 5
    assert known_vectors.still_blocks(scenery(10.0, 3), 0, 2, SIZE) == bytes(20 * 12)


def test_the_bytes_of_a_picture_are_known():
    """Any change of the choice of vectors or of the coder shows here."""
    still = bytes([0, 1, 2, 4 + 1, 4 + 2, 4 + 3, 0] * 21)
    pictures = [
        written(),
        written(1.3),
        written(-20.7, 0.04),
        written(2.2, 0.01, still=still),
        written(20.7, weight=0),
        written(0.3, order=31, frame_number=15, weight=5, size=(4096, 16), still=bytes(256)),
    ]
    assert [len(picture) for picture in pictures] == GOLDEN_SIZES
    assert sha256(b"".join(pictures)).hexdigest()[:16] == GOLDEN_HASH


@pytest.mark.parametrize(
    "changes",
    [
        {"order": 32},
        {"frame_number": -1},
        {"weight": -1},
        {"weight": 65},
        {"size": (4112, 16), "still": bytes(257)},
        {"size": (0, 16), "still": b""},
        {"still": bytes(3)},
        {"motions": (Motion(0, 121, 0), Motion(0, 0, 0))},
        {"motions": (Motion(0, 0, 0.4), Motion(0, 0, 0))},
        {"motions": (Motion(float("nan"), 0, 0), Motion(0, 0, 0))},
    ],
)
def test_what_cannot_be_written_is_refused(changes):
    with pytest.raises(ValueError, match="expected a picture that"):
        written(**changes)


def p_picture() -> bytes:
    encoder, pictures = GopEncoder(VideoFormat(SIZE), 20), []
    source = video()
    for frame in (0, 1):
        pictures += encoder.add_p(source.draw(frame).video)
    return [*pictures, *encoder.finish()][1].data


def test_only_the_order_of_a_p_picture_changes():
    data = p_picture()
    sps = read_sps(annex_b(header(SIZE))[0])
    for order in (0, 2, 21, 32 + 5):
        changed = with_order(data, order)
        (found,) = picture_slices([annex_b(changed)], sps)
        assert found.pic_order_cnt_lsb == order % 32
        assert with_order(changed, 2) == data


@pytest.mark.parametrize("at", [4, 5])
def test_a_picture_of_another_form_is_an_error(at):
    data = bytearray(p_picture())
    data[at] ^= 4
    with pytest.raises(ValueError, match="libx264 made a picture that begins with 0000"):
        with_order(bytes(data), 3)
    with pytest.raises(ValueError, match="expected a P picture"):
        with_order(p_picture() * 2, 3)


def test_zeros_of_a_p_picture_are_escaped_anew():
    changed = with_order(b"\0\0\1\x41\x9a\x01\0\0\3\1", 0)
    assert changed == b"\0\0\1\x41\x9a\0\0\3\0\1"


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_random_cameras_are_decoded_without_complaint():
    rng = random.Random(30)
    for number in range(1000):
        frames = rng.randrange(6, 60)
        size = VideoSize(2 * rng.randrange(8, 90), 2 * rng.randrange(8, 60))
        lengths = [rng.randrange(1, frames + 1) for _ in range(3)]
        track = rng.choice((None, block_track([*lengths, frames], SIZE)[0]))
        source = video(
            frames,
            rng.choice([effect for effect in Effect if effect != Effect.RANDOM]),
            size=SIZE if track else size,
            amount=rng.uniform(0.01, 0.5),
            track=track,
            easing=rng.choice(("linear", "ease_in", "ease_out", "ease_in_out")),
            focus=(rng.random(), rng.random()),
        )
        size = SIZE if track else size
        gops = encode_all(source, frames, rng.randrange(10, 40))
        assert len(list(decoded_luma(gops, size))) == frames, number
