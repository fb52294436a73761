"""Pictures with soft dots, and where a dot is found in a frame."""

from __future__ import annotations

import numpy as np

from cloudburst.renderer.planes import Planes

WIDTH, HEIGHT = 1920, 1080


LANDSCAPE, PORTRAIT = (WIDTH, HEIGHT), (HEIGHT, WIDTH)


def chart(size, dots, scale=1):
    """Planes with a soft dot at each place, in pixels off the centre of the luma."""
    width, height = size

    def plane(step, siting):
        y, x = np.mgrid[0 : height // step, 0 : width // step].astype(np.float32)
        total = np.full(x.shape, 40, np.float32)
        for across, down in dots:
            # where the place of the luma is counted in samples of this plane
            at_x = ((width / 2 + across) / step) - 0.5 + siting
            at_y = ((height / 2 + down) / step) - 0.5
            total += 160 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * (6 / step) ** 2))
        return np.rint(total).astype(np.uint8).tobytes()

    return Planes(width, height, plane(1, 0), plane(2, 0.25), plane(2, 0.25))


def dot(plane, near, step=1, siting=0.0):
    """Centre of the dot near a place, in pixels of the luma off its centre."""
    height, width = plane.shape
    x, y = width / 2 + near[0] / step, height / 2 + near[1] / step
    reach = 26 // step
    x0, y0 = round(x) - reach, round(y) - reach
    part = plane[y0 : y0 + 2 * reach, x0 : x0 + 2 * reach].astype(np.float64)
    part = np.maximum(part - 44, 0)
    rows, columns = np.mgrid[0 : part.shape[0], 0 : part.shape[1]]
    across = (part * columns).sum() / part.sum() + x0 + 0.5 - siting
    down = (part * rows).sum() / part.sum() + y0 + 0.5
    return (across - width / 2) * step, (down - height / 2) * step
