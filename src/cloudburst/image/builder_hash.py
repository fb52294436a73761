"""Hashes of the builder's own code: what other code has made is not taken from the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path


def _hash_of(*modules: str) -> str:
    found = hashlib.sha256()
    for name in modules:
        found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return found.hexdigest()


LAYER_CODE = _hash_of(
    *(
        "bytecode",
        "compile_files",
        "layer_contents",
        "entries",
        "layers",
        "locked_packages",
        "trim",
    ),
    *("wheel_archive", "wheel_contents", "layer_builder", "base_layers"),
)
"""Hash of the modules that determine the contents of layers."""
BASE_CODE = _hash_of("base_image", "base_layers", "debian", "locked_packages", "trim")
"""Hash of the modules that determine what is recorded about a base image."""
ALL_CODE = _hash_of(*sorted(path.stem for path in Path(__file__).parent.glob("*.py")))
"""Hash of all modules of the builder."""
