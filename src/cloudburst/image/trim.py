"""The files of packages that the image leaves out, for a build with and without Docker.

``python trim.py FOLDER`` removes them from a virtual environment and compiles what remains. The
Dockerfile runs it. It needs only the standard library.
"""

from __future__ import annotations

import compileall
import fnmatch
import py_compile
import sys
from pathlib import Path, PurePosixPath

OWN_PACKAGES = ("film", "media", "models", "net", "renderer", "service")
# Parts of this package that the render service and its processes import, as a test compares.
OWN_MODULES = (
    *("__init__.py", "concurrency.py", "errors.py", "files.py", "programs.py", "redaction.py"),
    "text.py",
)
OWN_NAME = "cloudburst"

# Installers, which a virtual environment contains.
UNUSED_PACKAGES = ("pip", "pip-*.dist-info", "_virtualenv.py", "_virtualenv.pth")
UNUSED_FOLDERS = ("tests", "__pycache__")
# What packages have for their own developers. Bytecode is compiled again.
UNUSED_FILES = ("*.pyi", "*.pxd", "*.pyx", "*.h", "*.a", "*.lib", "*.pyc")
# Parts of Pillow for AVIF pictures, which PyAV decodes, with the library that only they load.
# Every file of ``av.libs`` is linked to all modules of PyAV, which cannot be imported without it.
UNUSED_PATHS = ("PIL/_avif.*", "pillow.libs/libavif-*")
UNUSED_PROGRAMS = ("pip*", "activate*", "Activate.ps1")
# The service never imports these folders of the standard library; the Dockerfile has them, too.
STDLIB_WITHOUT_BYTECODE = (
    *("dist-packages", "ensurepip", "idlelib", "pydoc_data", "site-packages", "test", "tkinter"),
    *("turtledemo", "venv"),
)


def is_unused(path: str) -> bool:
    """Return whether the image leaves out a file; ``path`` is relative to ``site-packages``."""
    pure = PurePosixPath(path)
    if pure.parts[0] == OWN_NAME and _is_unused_of_ours(pure):
        return True
    return (
        any(fnmatch.fnmatchcase(pure.parts[0], pattern) for pattern in UNUSED_PACKAGES)
        or any(part in UNUSED_FOLDERS for part in pure.parts[:-1])
        or any(fnmatch.fnmatchcase(pure.name, pattern) for pattern in UNUSED_FILES)
        or any(fnmatch.fnmatchcase(path, pattern) for pattern in UNUSED_PATHS)
    )


def _is_unused_of_ours(path: PurePosixPath) -> bool:
    if len(path.parts) == 2:
        return path.name not in OWN_MODULES
    return path.parts[1] not in OWN_PACKAGES


def needs_bytecode(path: str) -> bool:
    """Return whether a module of the standard library is compiled; the path is relative to it."""
    pure = PurePosixPath(path)
    return pure.suffix == ".py" and pure.parts[0] not in STDLIB_WITHOUT_BYTECODE


def trim_environment(prefix: Path) -> None:
    """Remove the unused files of a virtual environment, and compile the others."""
    (packages,) = prefix.glob("lib/python3*/site-packages")
    for path in sorted(packages.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif is_unused(path.relative_to(packages).as_posix()):
            path.unlink()
    for pattern in UNUSED_PROGRAMS:
        for path in (prefix / "bin").glob(pattern):
            path.unlink()
    # Without a check of the source's time, because every render starts a Python of its own.
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(packages, quiet=1, invalidation_mode=unchecked)


if __name__ == "__main__":
    trim_environment(Path(sys.argv[1]))
