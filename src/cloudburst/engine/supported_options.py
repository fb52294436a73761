"""Check that the workers of the backends can render the scenes of a run and make its film."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from cloudburst.concurrency import Steps
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.scene import CheckedScene
from cloudburst.ports.backend import Backend
from cloudburst.ports.film_maker import FilmMaker

_NO_FILMS = SceneFault(
    scene="",
    field="film",
    found="workers of the public image, which make no films",
    expected="workers with the image of this package, or no film",
)


async def check_supported(
    scenes: Sequence[CheckedScene], film: FilmMaker | None, backends: Sequence[Backend]
) -> None:
    """Raise `InvalidScenesError` with everything that a backend's workers cannot render.

    A run may use each of its backends for each scene, so every backend must support every scene.
    For a film that a worker makes, one backend that can make it is enough.
    """
    checks = [each.find_unsupported or attrgetter("undrawable") for each in backends]
    faults = dict[SceneFault, None]()
    async for scene in Steps(scenes):
        for find_unsupported in checks:
            faults |= dict.fromkeys(find_unsupported(scene))
    if film is not None and film.needs_worker and not any(each.makes_films for each in backends):
        faults[_NO_FILMS] = None
    if faults:
        raise InvalidScenesError(faults=[*faults])
