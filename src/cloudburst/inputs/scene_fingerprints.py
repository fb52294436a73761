"""Hashes of the input files of a run, and the fingerprints of its scenes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import anyio
from anyio import CapacityLimiter, from_thread, to_thread

from cloudburst.errors import UploadError
from cloudburst.models.file_versions import KNOWN_HASHES, FileVersion, KnownHash
from cloudburst.models.fingerprint import HashedInputs, fingerprint
from cloudburst.models.locations import AnyLocation, RemoteLocation
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import CheckedScene
from cloudburst.text import describe_error

MIN_AGE_NS = 2_000_000_000
"""Age in nanoseconds that the last change of a file must have when the file is read, for its hash
to be kept in the journal. A change shortly afterwards could leave the same time: file systems store
times in steps of up to two seconds (FAT; "Racy Git" in the documentation of Git)."""
_READ_THREADS = 2  # more busy threads would delay the event loop's thread


class InputHashes:
    """Hashes of the input files of one run. A file is read once, when its hash is first needed.

    Args:
        remote: Remote files of the run, as the check has found them.
        known: Hashes of files on this machine that earlier processes of the run have read.
    """

    def __init__(
        self, remote: Mapping[RemoteLocation, RemoteFile], known: Iterable[KnownHash] = ()
    ) -> None:
        self._remote = remote
        self._known = dict(known)
        self._lasting = set(self._known)
        self._locks = defaultdict[FileVersion, anyio.Lock](anyio.Lock)
        self._reading = CapacityLimiter(_READ_THREADS)

    async def hash_inputs(self, scene: CheckedScene) -> HashedInputs:
        """Return the hashes and the fingerprint of a scene's files.

        Contents of files affect the fingerprint, their paths do not. The version of a remote file
        stands for its content. Of the effects in the options, only the one that is drawn counts.

        Raises:
            UploadError: A file was changed or removed since the check, or cannot be read.
        """
        files = scene.files()
        hashes = dict[str, str]()
        for field, location in files.items():
            try:
                hashes[field] = await self._hash(scene, location)
            except OSError as exc:
                text = f"{field}: {describe_error(exc)}"
                raise UploadError(text, scene=scene.scene.name, field=field) from exc
        lasting = [version for version in scene.versions.values() if version in self._lasting]
        return HashedInputs(
            fingerprint=fingerprint(
                scene.scene.name,
                scene.drawn_options,
                hashes,
                duration=scene.scene.duration,
                title_card=scene.scene.title_card,
                subtitle_frame=scene.subtitle_frame,
            ),
            hashes=hashes,
            lasting=tuple((version, self._known[version]) for version in lasting),
        )

    async def _hash(self, scene: CheckedScene, location: AnyLocation) -> str:
        if not isinstance(location, Path):
            return self._remote[location].version
        version = scene.versions[location]
        async with self._locks[version]:
            if version not in self._known:
                began_ns = time.time_ns()
                read = partial(version.compute_sha256, from_thread.check_cancelled)
                self._known[version] = await to_thread.run_sync(read, limiter=self._reading)
                # A time in the future proves nothing: the clocks of machines differ.
                if began_ns - version.mtime_ns >= MIN_AGE_NS:
                    self._lasting.add(version)
        KNOWN_HASHES.add(version, self._known[version])  # for the senders
        return self._known[version]
