"""Hash of the builder's own code: what another version has made is not taken from the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path


def _hash_of_sources() -> str:
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


BUILDER_HASH = _hash_of_sources()
