"""Markers of runs in the folders in S3 to which they write, from which other runs learn of them.

Nothing depends on a marker: conditions of the requests that write videos keep a run from replacing
those of another one. So nothing is refused, and faults of S3 end no run.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from pydantic import AwareDatetime, BaseModel, ValidationError

from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.s3.request_waits import finish_delete, finish_write
from cloudburst.concurrency import for_each
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CloudburstError,
    ResourceMissingError,
)
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.text import list_some, printable_line

logger = logging.getLogger(__name__)

METADATA_FOLDER = ".cloudburst/"
"""Folder in the folder of the videos that contains the markers."""
MARKER_LIFETIME = timedelta(days=1)
"""Age from which a marker is deleted by the next run in the folder: its run was killed, or lasts
longer than any that is known."""
WRITE_TIMEOUT = 60.0
"""Maximum seconds to write a marker."""
# Maximum size of a marker that is read, in bytes: the names of some 40,000 scenes.
_MAX_BYTES = 1024**2
# Maximum number of markers that a run reads.
_MAX_MARKERS = 100
# Number of markers that are read at once.
_AT_ONCE = 16
# Maximum length of the shown description of a run, in characters.
_MAX_CHARS = 200
_FIRST_STAYS = "the first video of a name stays, and that scene of the other run fails"
_LAST_STAYS = "the last video of a name stays, because this run overwrites"


class Marker(BaseModel):
    """Content of a marker."""

    run: str
    host: str
    pid: int
    started: AwareDatetime
    names: frozenset[str]
    """Names of the scenes whose videos the run writes."""


@asynccontextmanager
async def marked(
    store: ObjectStore,
    folder: S3Prefix,
    names: Sequence[str],
    *,
    run: str,
    suffix: str = "",
    overwrite: bool,
) -> AsyncGenerator[None]:
    """Mark a folder as one to which a run writes, and log a warning for runs with the same names.

    The marker is deleted at the end of the ``with`` block, also when it is cancelled.
    """
    location = folder.object(f"{METADATA_FOLDER}{run}{suffix}.json")
    marker = Marker(
        run=run,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=datetime.now(UTC),
        names=frozenset(names),
    )
    look = partial(_look, store, ours=marker, own=location, overwrite=overwrite)
    write = partial(store.put_small, location, marker.model_dump_json().encode())
    try:
        try:
            await look(location)
            await finish_write(write, location, seconds=WRITE_TIMEOUT)
            # Listed after the write: of two runs that begin at once, one at least finds the other.
            listed = await store.list_folder(location.folder)
            others = [at for at in listed if at.suffix == ".json" and at != location]
            await for_each(others[:_MAX_MARKERS], look, at_once=_AT_ONCE)
        except CloudburstError as exc:
            logger.warning("%s: not all runs with the same videos are known: %s", folder, exc)
        yield
    finally:
        warn = partial(logger.warning, "the marker of the run, %s, stays: %s", location)
        await finish_delete(partial(store.delete, location), warn=warn)


async def _look(
    store: ObjectStore, at: S3Object, *, ours: Marker, own: S3Object, overwrite: bool
) -> None:
    """Log a warning if a marker is of another run, or process, that writes some of our videos."""
    found = await _read(store, at)
    if found is None or (at == own and found.host == ours.host):
        return  # an earlier process on this machine has ended, because the run is locked here
    if ours.started - found.started > MARKER_LIFETIME:
        await store.delete(at)
    elif shared := sorted(ours.names & found.names):
        if at == own:
            outcome = "unless it was killed, scenes may be rendered twice"
        else:
            stays = _LAST_STAYS if overwrite else _FIRST_STAYS
            outcome = f"{stays}; if it was killed, resume it or delete its marker {at}"
        process = (
            f"{found.run} (process {found.pid} on {found.host}, started at "
            f"{found.started:%Y-%m-%d %H:%M:%S %Z})"
        )
        logger.warning(
            "run %s may still be writing %s: %s",
            printable_line(process, _MAX_CHARS),
            list_some([f"{name}.mp4" for name in shared]),
            outcome,
        )


async def _read(store: ObjectStore, location: S3Object) -> Marker | None:
    try:
        return Marker.model_validate_json((await store.read(location, max_bytes=_MAX_BYTES)).data)
    except (ResourceMissingError, AccessDeniedError, AWSError, ValidationError):
        return None
