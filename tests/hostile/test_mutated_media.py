"""Files with random errors, decoded by the confined render process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from cloudburst.renderer.confinement.decoders import missing_layers
from support.project import TESTS

BLOCK = 20
"""Number of mutations in a test: one of every second kind of files."""
BLOCKS = [BLOCK * number for number in range(50)]


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(missing_layers()), reason="render processes are not confined here")
@pytest.mark.few(1)
@pytest.mark.parametrize("first", BLOCKS)
def test_mutated_files_are_rendered_or_refused_by_confined_processes(first: int) -> None:
    script = TESTS / "support" / "mutated_renders.py"
    done = subprocess.run(
        [sys.executable, str(script), str(first), str(BLOCK)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 2 + BLOCK
    # Any mutation can be harmless or not. These two are a file without errors and one that is none.
    assert [line["code"] for line in found[:2]] == [0, 2]
    # The limit of CPU time ends a render that takes too long; nothing else may kill one.
    assert [line for line in found if line["code"] not in {0, 2, -signal.SIGXCPU}] == []
    assert all(line["fault"]["field"] == line["field"] for line in found if line["code"] == 2)
