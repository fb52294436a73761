"""Fingerprints of checked scenes, whose files are read."""

from __future__ import annotations

import anyio

from cloudburst.inputs.scene_fingerprints import InputHashes


def fingerprints_of(scenes, remote=None):
    """Return the fingerprint of each scene, as a run computes them before it sends the files."""

    async def read():
        hashes = InputHashes(remote or {})
        return [(await hashes.hash_inputs(scene)).fingerprint for scene in scenes]

    return anyio.run(read)
