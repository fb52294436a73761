"""Program that compiles modules: ``PYTHON -s -S -P compile_files.py INPUT OUTPUT``.

The Python of the image runs it, or another one that makes the same bytecode. It needs only the
standard library. For each module, the input has a line of JSON, ``[path, size]``, and then as many
bytes of source. The output has a line with the size of the bytecode file, and then its bytes; the
size is 0 for a module that is not valid for this Python.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import sys
import warnings
from typing import BinaryIO

FLAG_HASH_UNCHECKED = (1).to_bytes(4, "little")
"""Flags of a bytecode file with the hash of its source, which is not compared (PEP 552)."""


def main(source_file: str, target_file: str) -> None:
    """Compile all modules of the input."""
    warnings.simplefilter("ignore")
    with open(source_file, "rb") as sources, open(target_file, "wb") as target:  # noqa: PTH123
        for line in iter(sources.readline, b""):
            path, size = json.loads(line)
            write(target, compiled(path, sources.read(size)))


def compiled(path: str, source: bytes) -> bytes:
    """Return the bytecode file of a module, or nothing if its source is not valid."""
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return b""
    parts = (
        importlib.util.MAGIC_NUMBER,
        FLAG_HASH_UNCHECKED,
        importlib.util.source_hash(source),
        marshal.dumps(code),
    )
    return b"".join(parts)


def write(target: BinaryIO, data: bytes) -> None:
    """Write the size of a bytecode file, and the file."""
    target.write(b"%d\n" % len(data) + data)


if __name__ == "__main__":
    main(*sys.argv[1:])
