"""Check that the workers of the backends can render the scenes of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

from cloudburst.concurrency import Steps
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.locations import OutputLocation, S3Object
from cloudburst.models.scene import CheckedScene
from cloudburst.ports.backend import Backend

_NO_S3 = SceneFault(
    scene="",
    field="to",
    found="a folder in S3, and workers of the protocol onestep, which write nothing to S3",
    expected="a folder on this machine, or workers of the protocol native, with our image",
)


async def check_supported(
    scenes: Sequence[CheckedScene], to: Mapping[str, OutputLocation], backends: Sequence[Backend]
) -> None:
    """Raise `InvalidScenesError` with everything that a backend's workers cannot render.

    A run may use each of its backends for each scene, so every backend must support every scene,
    and the folder of the videos.

    Args:
        scenes: Scenes of the run.
        to: Location of each scene's video, by the name of the scene; all are in one folder.
        backends: Backends of the run.
    """
    checks = [each.find_unsupported or attrgetter("undrawable") for each in backends]
    faults = dict[SceneFault, None]()
    async for scene in Steps(scenes):
        for find_unsupported in checks:
            faults |= dict.fromkeys(find_unsupported(scene))
    in_s3 = any(isinstance(location, S3Object) for location in to.values())
    if in_s3 and not all(each.uses_s3 for each in backends):
        faults[_NO_S3] = None
    if faults:
        raise InvalidScenesError(faults=[*faults])
