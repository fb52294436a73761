"""Timeouts, limits and backoff: immutable, validated settings with defaults."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from cloudburst.errors import ConfigurationError
from cloudburst.models.problems import check_arguments, describe_value
from cloudburst.models.video_format import MAX_SCENE_SECONDS

_STRICT = ConfigDict(extra="forbid")

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

# Factor by which the limit of decoded audio exceeds that of the length in the file's header. An
# MP3 header leaves out the silence that the MP3 encoder has added.
_DECODED_LENGTH = 1.01


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Timeouts:
    """Timeouts of a client, in seconds; ``None`` means no limit."""

    call: Seconds = 10.0
    """Timeout of one request to a backend or worker, in seconds."""
    launch: Seconds | None = 120.0
    """Maximum seconds from the first request for a task until the backend accepts a request."""
    ready: Seconds | None = 300.0
    """Maximum seconds from the acceptance of a task until its worker passes the first health
    check."""
    reach: Seconds | None = 90.0
    """Maximum seconds from the moment at which a task runs until its worker answers for the first
    time. Within them, a program starts; after that, its port cannot be reached from here, or
    another program uses it."""
    scene: Seconds | None = 900.0
    """Maximum seconds that an attempt at a scene may take for its upload, for its download, and
    between two increases of the progress of its encode. Waits for the uplink and for an
    encoder slot do not count. A worker that reports no progress, such as one with the public image,
    gets more time for a long scene."""
    silence: Seconds = 60.0
    """Seconds without any data from a worker that has work, after which the worker counts as
    lost."""
    stop: Seconds = 10.0
    """Maximum seconds until the backend accepts the stop of a task."""
    settle: Annotated[float, Field(ge=0)] = 60.0
    """Maximum seconds to wait, after the stop of a task was accepted, until the task is seen to
    have stopped and its bill is final."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Limits:
    """Limits of a client: concurrency, sizes, attempts and cost."""

    workers: Count = 4
    """Maximum number of billed tasks at the same time, over all backends. Workers that cost
    nothing, such as those on this machine, are counted separately: the same number of them may run
    beside the billed ones."""
    attempts: Count = 3
    """Number of failed attempts after which a scene is given up. A retry uses another worker if
    possible. Attempts that fail because of their worker, such as by a Spot interruption, are
    counted separately: a scene is given up after 10 of them."""
    idle: Annotated[float, Field(ge=0)] | None = 0.0
    """Seconds for which a worker without work is kept for the next call before it is stopped.
    ``None``: one billed worker is kept as long as that costs less than a new start would, by its
    bill and ``hour_usd``; all others are stopped at once. A `JobQueue` and a web app use ``None``
    in place of 0. The price of an idle worker counts against ``max_usd``."""
    queued_scenes: Count | None = None
    """Maximum number of scenes in the queue, over all runs of a client; a call with more scenes
    raises `BusyError`. ``None``: no limit. A run whose scenes come one after another is asked for
    the next one only while fewer of its own scenes wait; ``None``: two for each encoder slot that
    the client may have."""
    image_pixels: Count = 100_000_000
    """Maximum number of pixels of one picture. Some formats allow fewer because of the memory that
    decoding them takes: see `cloudburst.media.input_rules`."""
    file_bytes: Count = 512 * 1024 * 1024
    """Maximum size of one input file, in bytes."""
    audio_seconds: Seconds = MAX_SCENE_SECONDS
    """Maximum length of a scene, in seconds: of its duration, or of its audio, and of its music.
    The client reads the length from the header of the file; the worker measures the decoded audio.
    Longer scenes than four hours are possible with a larger value."""
    max_usd: Annotated[Decimal, Field(gt=0)] | None = None
    """Maximum bill of a client, in USD. No task is launched and no scene is started if the forecast
    of the bill exceeds it. Encodes are cancelled if it turns out that their end would exceed it and
    a stop of their worker costs less. The bill includes tasks of earlier processes of a resumed
    run. ``None``: no limit."""
    deadline: Seconds | None = None
    """Target for the end of a run, in seconds from its start. While the forecast end is later, more
    workers are started, within ``workers`` and ``max_usd``, even if the time that they save is
    worth less than they add to the bill. Nothing is cancelled at the deadline. ``None``: no
    deadline."""
    hour_usd: Annotated[Decimal, Field(ge=0)] = Decimal("1.5")
    """Value of one hour of waiting for a run, in USD. Tasks are started as long as the time that
    they save is worth more than they add to the bill. The default is for a person or a web request
    that waits: with it, short runs on up to six tasks use about as many as shorten them, and cost
    less than three times as much as with one task. It is for an hour of work at most, as the
    videos are weighted; for more, the value rises in proportion. 0: only what makes the run cheaper
    is started."""
    speculative_copies: bool = True
    """True if a scene is encoded a second time on another worker if that is done much sooner; the
    first finished encode counts. Only workers that can cancel an encode take part."""

    @property
    def decoded_audio_seconds(self) -> float:
        """Maximum length of the decoded audio of a scene, in seconds."""
        return 1 + _DECODED_LENGTH * self.audio_seconds


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Backoff:
    """Exponentially growing delays between repeated calls, with full jitter.

    Each delay is a random number of seconds between 0 and a ceiling that grows from one delay to
    the next: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    first: Seconds = 0.25
    """Ceiling of the first delay, in seconds."""
    factor: Annotated[float, Field(ge=1)] = 1.6
    """Factor by which the ceiling grows from one delay to the next."""
    cap: Seconds = 0.5
    """Maximum of the ceiling, in seconds."""

    def delays(self, rng: random.Random | None = None) -> Iterator[float]:
        """Yield the seconds to wait before each further attempt, indefinitely."""
        rng, ceiling = rng or random.Random(), min(self.first, self.cap)  # noqa: S311
        while True:
            yield rng.uniform(0, ceiling)
            ceiling = min(self.cap, ceiling * self.factor)


# Delays between two health checks of a starting worker; they are short because the worker is
# already billed.
READINESS_BACKOFF = Backoff()

# Delays between repetitions of a call that failed.
RETRY_BACKOFF = Backoff(first=1.0, factor=2.0, cap=20.0)

# Delays between attempts at a transfer from or to S3 or a web server, or at a request about it.
TRANSFER_BACKOFF = Backoff(first=0.5, factor=2.0, cap=15.0)
# Seconds without a transferred byte for which such attempts are repeated while the server is busy
# or does not answer. S3 asks to repeat requests with growing delays after 503 ("Best practices
# design patterns", Amazon S3 User Guide, 2026-11); the time is a choice.
TRANSFER_TIMEOUT = 120.0


def _error_of(exc: ValidationError, names: Collection[str]) -> ConfigurationError:
    described = ((error["loc"][-1], *describe_value(error, names)) for error in exc.errors())
    faults = (f"{name}: {found}; expected {valid}" for name, found, valid in described)
    return ConfigurationError("\n".join(faults))


for _policy in (Timeouts, Limits, Backoff):
    check_arguments(_policy, _error_of)
