"""Numbers that users may tune: immutable, validated, all with defaults."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Timeouts:
    """Seconds. ``None`` waits without limit."""

    call: Seconds = 10.0
    """One request to a backend or worker that should answer at once."""
    launch: Seconds | None = 120.0
    """From the first request for a task until one is accepted."""
    ready: Seconds | None = 300.0
    """From acceptance until the worker answers its health check."""
    scene: Seconds | None = 900.0
    """One attempt at a scene, from its upload to its file, without its wait for others there."""
    silence: Seconds = 60.0
    """A worker that says nothing for so long while it works counts as lost."""
    stop: Seconds = 10.0
    """Until a stop is accepted."""
    settle: Annotated[float, Field(ge=0)] = 60.0
    """From there until a task is seen to have stopped, when its bill is final."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Limits:
    """How much at once, how large, how often."""

    workers: Count = 4
    """Tasks alive at once, over all backends. Workers that cost nothing, like those of this
    machine, are counted by themselves: as many of them may be alive beside the ones that cost."""
    lanes: Count | None = None
    """Scenes on one worker at once, in any stage; ``None``: three for each encoder slot."""
    attempts: Count = 3
    """Tries for one scene; each further one on another worker."""
    idle: Annotated[float, Field(ge=0)] = 0.0
    """Seconds for which a worker without work is kept for the next call."""
    waiting: Count | None = None
    """Scenes in the queue, over all runs of a client; more raise `BusyError`. ``None``: any."""
    image_pixels: Count = 100_000_000
    """Of one picture."""
    file_bytes: Count = 512 * 1024 * 1024
    """Of one input file."""
    audio_seconds: Seconds = 3600.0
    """Of one sound."""
    max_usd: Annotated[Decimal, Field(gt=0)] | None = None
    """No task is launched and no scene begun by which a client's bill would pass this, as far as
    can be foreseen; what has begun is finished. The tasks of earlier lives of a run that a client
    goes on with are on its bill. ``None``: no limit."""
    deadline: Seconds | None = None
    """From a run's begin. While its end is foreseen to come later, workers are started although
    they do not pay, as far as ``workers`` and ``max_usd`` allow. Nothing is cut off by it.
    ``None``: a worker is started only if it saves more time than it takes to start."""
    copies: bool = True
    """A scene that takes much longer than others did is encoded a second time on a worker that is
    free, where such a one can be told to stop: the first that is done counts."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Backoff:
    """Exponential delays in seconds, with full jitter, for ever.

    Full jitter as AWS's Architecture Blog describes it ("Exponential Backoff And Jitter", 2015):
    each delay is drawn between nothing and a ceiling that grows.
    """

    first: Seconds = 0.25
    factor: Annotated[float, Field(ge=1)] = 1.6
    cap: Seconds = 0.5

    def delays(self, rng: random.Random | None = None) -> Iterator[float]:
        """Delays for one wait; take as many as the deadline allows."""
        rng, ceiling = rng or random.Random(), min(self.first, self.cap)  # noqa: S311
        while True:
            yield rng.uniform(0, ceiling)
            ceiling = min(self.cap, ceiling * self.factor)


READINESS = Backoff()
"""For a machine that is about to be ready: it costs money from before it answers."""

PATIENT = Backoff(first=1.0, factor=2.0, cap=20.0)
"""For calls that fail: give the other side time."""
