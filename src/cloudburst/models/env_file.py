"""Reader of ``.env`` files, which may be part of a folder from an untrusted source."""

from __future__ import annotations

import io
from pathlib import Path

from dotenv import dotenv_values

from cloudburst.files import read_regular_file

ENV_FILE = Path(".env")
"""File in the current folder that is read in addition to the environment variables, and written by
``cloudburst init``."""
MAX_ENV_FILE_BYTES = 2**15
"""Maximum size of a ``.env`` file in bytes, which has some hundred. For a value with spaces,
python-dotenv needs time that grows with the square of their number: a second for 32 kB."""


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables in a ``.env`` file; an empty dictionary if the file does not exist.

    ``${NAME}`` in a value is not replaced by the variable of that name: otherwise a malicious file
    could send any variable of this process to an endpoint that the file configures.

    Raises ``OSError`` for anything but a regular file of at most 32 kB, and ``ValueError`` for a
    file that is not UTF-8.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    text = read_regular_file(path, limit=MAX_ENV_FILE_BYTES).decode("utf-8-sig")
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}
