"""Check that the workers of all backends can render the scenes of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudburst.errors import InvalidScenesError
from cloudburst.models.scene import CheckedScene
from cloudburst.ports import Backend


def check_supported(scenes: Sequence[CheckedScene], backends: Iterable[Backend]) -> None:
    """Raise `InvalidScenesError` with everything that a backend's workers cannot render.

    A run may use each of its backends for each scene, so every backend must support every scene.
    """
    faults = dict.fromkeys(
        fault
        for backend in backends
        if backend.find_unsupported is not None
        for scene in scenes
        for fault in backend.find_unsupported(scene)
    )
    if faults:
        raise InvalidScenesError(faults=[*faults])
