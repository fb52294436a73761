"""The pixel kernel: compiled variants agree, Pillow differs by at most 1, and bounds hold."""

from __future__ import annotations

import ctypes
import math
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cloudburst.renderer.kernel.interface import MAX_PLANE_SIDE, MAX_SIDE, Plane, Rectangle
from support.kernel_builds import GuardedPlane, kernels, largest_difference

pytestmark = pytest.mark.skipif(len(kernels()) == 1, reason="this machine has no C compiler")

COMPILED = [name for name in kernels() if name != "pillow"]
SIZE = WIDTH, HEIGHT = 1920, 270
"""The width of a large video, and a quarter of its height, which takes a quarter of the time."""
HALF_SAMPLE = WIDTH / (WIDTH - 1)
"""Zoom at which the left of a centred window is 0.5; there, weights have the largest sum."""


def noise():
    return Image.effect_noise(SIZE, 100)


def black_and_white():
    """Return the sharpest edges that there are, which overshoot most."""
    return Image.frombytes("L", SIZE, random.Random(1).randbytes(WIDTH * HEIGHT)).point(
        lambda value: 255 * (value > 127)
    )


def line_art():
    image, numbers = Image.new("L", SIZE, 255), random.Random(2)
    draw = ImageDraw.Draw(image)
    for _ in range(400):
        ends = [numbers.randrange(side) for side in (*SIZE, *SIZE)]
        draw.line(ends, fill=numbers.choice([0, 0, 128]), width=numbers.choice([1, 2, 5]))
    return image


def photo():
    """Return soft shapes with grain and a gradient, as in photos."""
    soft = Image.effect_noise((WIDTH // 8, HEIGHT // 8), 120).resize(SIZE, Image.Resampling.BICUBIC)
    grain = Image.blend(soft, Image.effect_noise(SIZE, 30), 0.2)
    return Image.blend(grain, Image.linear_gradient("L").resize(SIZE), 0.3)


def mean(samples):
    return sum(samples) / len(samples)


def zoomed(name, source, left, top, zoom, *, gap=0, size=None):
    target = GuardedPlane(*(size or source.plane[2:]), gap)
    kernels()[name].zoom(source.plane, target.plane, left, top, zoom)
    return target.samples()


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("picture", [noise, black_and_white, line_art, photo])
def test_zoom_differs_from_pillow_by_at_most_1(picture):
    source = GuardedPlane(*SIZE, samples=picture().tobytes())
    for zoom, across in [
        (1 / 1.55, 1),
        (1 / 1.3, 0.5),
        (1 / 1.02, 0.5),
        (HALF_SAMPLE, 0.5),
        (1.037, 0.5),
        (1.1, 0.5),
        (1 / 0.9, 0.313),
        (1 / 0.9, 1),
    ]:
        size = (WIDTH, HEIGHT) if zoom > 1 else (int(WIDTH * zoom), int(HEIGHT * zoom))
        left, top = (WIDTH - size[0] / zoom) * across, (HEIGHT - size[1] / zoom) / 2
        expected = zoomed("pillow", source, left, top, zoom, size=size)
        found = [zoomed(name, source, left, top, zoom, size=size) for name in COMPILED]
        assert found[1:] == found[:-1]
        assert largest_difference(found[0], expected) == 1
        assert abs(mean(found[0]) - mean(expected)) < 0.04, "neither is brighter"
        moved = zoomed(COMPILED[0], source, left - 0.02, top, zoom, size=size)
        assert found[0] != moved, "1/50 sample counts"


@pytest.mark.parametrize("name", kernels())
def test_nothing_changes_at_zoom_1(name):
    samples = noise().tobytes()
    assert zoomed(name, GuardedPlane(*SIZE, samples=samples), 0, 0, 1) == samples


@pytest.mark.parametrize("name", COMPILED)
def test_a_flat_picture_stays_flat_to_its_edges(name):
    for value in (0, 1, 16, 77, 128, 254, 255):
        source = GuardedPlane(333, 50, samples=bytes([value]) * 333 * 50)
        for zoom in (1 / 1.55, 0.75, 0.999, 1, 1.0001, 1.05, 1.7, 2):
            size = (333, 50) if zoom >= 1 else (214, 32)
            for left, top in ((-0.2, 0.2), (333 - size[0] / zoom + 0.199, -0.2)):
                assert set(zoomed(name, source, left, top, zoom, size=size)) == {value}


@given(
    width=st.integers(1, 150) | st.integers(MAX_SIDE - 40, MAX_SIDE),
    height=st.integers(1, 40),
    larger=st.just((0, 0)) | st.tuples(st.integers(0, 300), st.integers(0, 300)),
    smaller=st.tuples(st.booleans(), st.booleans()),
    gaps=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    zoom=st.floats(1, 1.2) | st.floats(1 / 1.55, 2),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    two_valued=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=75, deadline=None)
def test_windows_of_all_sizes(*, width, height, larger, smaller, gaps, zoom, at, two_valued, seed):
    """The source has the size of the target, or is as small as possible, or is larger."""
    size = width, height
    width, height = (
        math.ceil(side / zoom) if is_smaller or zoom < 1 else side + more
        for side, more, is_smaller in zip(size, larger, smaller, strict=True)
    )
    samples = random.Random(seed).randbytes(width * height)
    if two_valued:
        samples = samples.translate(bytes(128) + b"\xff" * 128)
    source = GuardedPlane(width, height, gaps[0], samples)
    left, top = (
        (side - length / zoom) * part + (2 * part - 1) * 0.199
        for side, length, part in zip((width, height), size, at, strict=True)
    )
    expected = zoomed("pillow", source, left, top, zoom, size=size)
    found = [zoomed(name, source, left, top, zoom, gap=gaps[1], size=size) for name in COMPILED]
    assert found[1:] == found[:-1]
    assert largest_difference(found[0], expected) <= 1
    assert source.samples() == samples


@pytest.mark.parametrize("name", kernels())
@pytest.mark.parametrize("size", [(MAX_PLANE_SIDE, 40), (50, MAX_PLANE_SIDE)])
def test_a_window_of_a_large_source_is_the_same_as_of_a_part_of_it(name, size):
    """Also where the part begins at the window, because it contains what the filter reads."""
    source = GuardedPlane(*size, samples=random.Random(3).randbytes(size[0] * size[1]))
    whole = Image.frombytes("L", size, source.samples())
    long = size.index(MAX_PLANE_SIDE)
    target, margin = (60, 30) if long == 0 else (40, 100), 8
    for place in (margin, margin + 0.4, 12_345.678, MAX_PLANE_SIDE - 250.25):
        for zoom in (0.9, 1, 1.3):
            start = [3.3, 2.2]
            start[long] = place
            crop = [0, 0, *size]
            crop[long] = int(place) - margin
            crop[2 + long] = int(place) + 2 * target[long] + margin
            part = whole.crop(crop)
            expected = GuardedPlane(*part.size, samples=part.tobytes())
            inner = (start[0] - crop[0], start[1] - crop[1])
            assert zoomed(name, source, *start, zoom, size=target) == zoomed(
                name, expected, *inner, zoom, size=target
            )


@pytest.mark.parametrize("name", kernels())
def test_whole_steps_over_a_large_source_are_copies(name):
    picture = noise()
    source = GuardedPlane(*SIZE, samples=picture.tobytes())
    for left, top in ((0, 0), (700, 33), (SIZE[0] - 400, SIZE[1] - 90)):
        found = zoomed(name, source, left, top, 1, size=(400, 90))
        assert found == picture.crop((left, top, left + 400, top + 90)).tobytes()


@st.composite
def areas(draw):
    """Return the size of a plane and a rectangle within it."""
    width, height = draw(st.integers(1, 150)), draw(st.integers(1, 30))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(x + 1, width)), draw(st.integers(y + 1, height))
    return (width, height), Rectangle(x, y, right - x, bottom - y)


@given(areas(), st.integers(0, 40), st.integers(0, 255), st.randoms(use_true_random=False))
@settings(max_examples=75, deadline=None)
def test_rectangles_of_all_sizes(sizes, gap, value, numbers):
    """Pillow and all compiled variants write the same bytes, within the rectangle only."""
    size, area = sizes
    count = area.width * area.height
    first, second = (numbers.randbytes(size[0] * size[1]) for _ in range(2))
    mask, picture = numbers.randbytes(count), numbers.randbytes(count)
    whole = numbers.randbytes(size[0] * size[1])
    results = []
    for kernel in kernels().values():
        target, source = GuardedPlane(*size, gap, first), GuardedPlane(*size, gap // 2, second)
        steps = [target.samples()]
        kernel.blend(target.plane, area, mask, value)
        steps.append(target.samples())
        kernel.overlay(target.plane, area, mask, picture)
        steps.append(target.samples())
        kernel.copy(source.plane, target.plane, area)
        steps.append(target.samples())
        kernel.fill(target.plane, whole)
        results.append([*steps, target.samples()])
    assert results[1:] == results[:-1]
    assert results[0][-1] == whole
    images = [Image.frombytes("L", size, step) for step in results[0]]
    box = (area.x, area.y, area.x + area.width, area.y + area.height)
    assert images[3].crop(box) == Image.frombytes("L", size, second).crop(box)
    for image in images[1:4]:
        image.paste(images[0].crop(box), box[:2])
        assert image == images[0]


@pytest.mark.parametrize("name", kernels())
def test_an_opaque_mask_replaces_and_a_clear_one_keeps(name):
    before = bytes(range(256))
    for opacity, after in ((255, bytes([9]) * 256), (0, before)):
        target = GuardedPlane(256, 1, samples=before)
        kernels()[name].blend(target.plane, Rectangle(0, 0, 256, 1), bytes([opacity]) * 256, 9)
        assert target.samples() == after


BAD_PLANES = {
    "no width": {"width": 0},
    "negative height": {"height": -1},
    "too wide": {"width": MAX_PLANE_SIDE + 1, "stride": MAX_PLANE_SIDE + 1},
    "too high": {"height": MAX_PLANE_SIDE + 1},
    "rows overlap": {"stride": 99},
    "huge stride": {"stride": 2**40},
    "null": {"address": 0},
}


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("change", BAD_PLANES.values(), ids=BAD_PLANES)
def test_bad_planes_are_rejected(name, change):
    kernel, good = kernels()[name], GuardedPlane(100, 20)
    bad = good.plane._replace(**change)
    area = Rectangle(0, 0, 1, 1)
    other = GuardedPlane(100, 20).plane
    for call in (
        lambda: kernel.zoom(bad, other, 0, 0, 1),
        lambda: kernel.zoom(other, bad, 0, 0, 1),
        lambda: kernel.blend(bad, area, b"1", 1),
        lambda: kernel.overlay(bad, area, b"1", b"1"),
        lambda: kernel.copy(bad, other, area),
        lambda: kernel.copy(other, bad, area),
        lambda: kernel.fill(bad, bytes(max(0, bad.width * bad.height))),
    ):
        with pytest.raises(ValueError, match=r"expected|outside"):
            call()
    good.samples()


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 2), (2, MAX_SIDE + 1)])
def test_large_targets_of_zooms_are_rejected(name, size):
    source, target = GuardedPlane(*size), GuardedPlane(*size)
    with pytest.raises(ValueError, match=f"sides of 1 to {MAX_SIDE}"):
        kernels()[name].zoom(source.plane, target.plane, 0, 0, 1)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize(
    "area",
    [(-1, 0, 2, 2), (0, -1, 2, 2), (99, 0, 2, 2), (0, 19, 2, 2), (0, 0, 0, 4), (0, 0, 4, -4)],
)
def test_rectangles_outside_are_rejected(name, area):
    kernel, target, source = kernels()[name], GuardedPlane(100, 20), GuardedPlane(100, 20)
    rectangle = Rectangle(*area)
    mask = bytes(abs(rectangle.width * rectangle.height))
    for call in (
        lambda: kernel.blend(target.plane, rectangle, mask, 1),
        lambda: kernel.overlay(target.plane, rectangle, mask, mask),
        lambda: kernel.copy(source.plane, target.plane, rectangle),
    ):
        with pytest.raises(ValueError, match="outside"):
            call()
    target.samples()


@pytest.mark.parametrize("name", COMPILED)
def test_buffers_of_another_length_are_rejected(name):
    kernel, target, area = kernels()[name], GuardedPlane(100, 20), Rectangle(2, 2, 10, 3)
    good = bytes(30)
    for bad in (bytes(29), bytes(31), b""):
        for call in (
            lambda bad=bad: kernel.blend(target.plane, area, bad, 1),
            lambda bad=bad: kernel.overlay(target.plane, area, bad, good),
            lambda bad=bad: kernel.overlay(target.plane, area, good, bad),
            lambda bad=bad: kernel.fill(target.plane, bad),
        ):
            with pytest.raises(ValueError, match=r"bytes; expected \d+x\d+"):
                call()
    for value in (-1, 256):
        with pytest.raises(ValueError, match="expected 0 to 255"):
            kernel.blend(target.plane, area, good, value)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize(
    ("left", "top", "zoom"),
    [
        (0, 0, 0.99),
        (0, 0, 0.64),
        (0, 0, 2.01),
        (0, 0, float("nan")),
        (0, 0, float("inf")),
        (float("nan"), 0, 1.1),
        (-0.21, 0, 1.1),
        (0, -0.21, 1.1),
        (0.21, 0, 1),
        (50.21, 0, 2),
        (0, 10.21, 2),
        (0, float("inf"), 2),
        (1e300, 0, 1),
    ],
)
def test_windows_outside_are_rejected(name, left, top, zoom):
    source, target = GuardedPlane(100, 20), GuardedPlane(100, 20)
    with pytest.raises(ValueError, match=r"zoom: .*; expected|window is outside"):
        kernels()[name].zoom(source.plane, target.plane, left, top, zoom)


@pytest.mark.parametrize("name", COMPILED)
def test_planes_that_do_not_fit_together_are_rejected(name):
    kernel, source, target = kernels()[name], GuardedPlane(100, 20), GuardedPlane(100, 21)
    with pytest.raises(ValueError, match="top: 0; the window is outside"):
        kernel.zoom(source.plane, target.plane, 0, 0, 1)
    memory = ctypes.create_string_buffer(3000)
    low = Plane(ctypes.addressof(memory), 100, 100, 20)
    high = low._replace(address=low.address + 500)
    for one, other in ((low, high), (high, low), (low, low)):
        with pytest.raises(ValueError, match="overlap"):
            kernel.zoom(one, other, 0, 0, 1)
        with pytest.raises(ValueError, match="overlap"):
            kernel.copy(one, other, Rectangle(0, 0, 1, 1))
    kernel.zoom(low._replace(height=5), high._replace(height=5), 0, 0, 1)  # one behind the other


@pytest.mark.parametrize("name", COMPILED)
def test_threads_do_not_disturb_each_other(name):
    source = GuardedPlane(*SIZE, samples=noise().tobytes())
    zooms = [1.01, 1.03, 1.07, 1.1]
    expected = [zoomed(name, source, 0, 0, zoom) for zoom in zooms]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(lambda zoom: zoomed(name, source, 0, 0, zoom), zooms)) == expected
