"""The script that makes the pages about failures, as a module."""

from __future__ import annotations

import importlib.util

from support.project import DOCS

_spec = importlib.util.spec_from_file_location("make_failures", DOCS / "make_failures.py")
assert _spec is not None
assert _spec.loader is not None
maker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(maker)
TABLES = maker.TABLES
