"""Check that the workers of all backends can render the scenes of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudburst.concurrency import Steps
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.scene import CheckedScene
from cloudburst.ports.backend import Backend


async def check_supported(scenes: Sequence[CheckedScene], backends: Iterable[Backend]) -> None:
    """Raise `InvalidScenesError` with everything that a backend's workers cannot render.

    A run may use each of its backends for each scene, so every backend must support every scene.
    """
    checks = [each.find_unsupported for each in backends if each.find_unsupported is not None]
    faults = dict[SceneFault, None]()
    async for scene in Steps(scenes if checks else ()):
        for find_unsupported in checks:
            faults |= dict.fromkeys(find_unsupported(scene))
    if faults:
        raise InvalidScenesError(faults=[*faults])
