"""Lines of output that child processes of the service pass on."""

from __future__ import annotations

import sys

import pytest

from cloudburst.service.subprocesses import MAX_LINE_BYTES, Subprocesses

pytestmark = pytest.mark.anyio

PROGRAM = """
import sys
for size in map(int, sys.argv[1:]):
    sys.stdout.write("x" * size + "end\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize(
    "excess", [1, 100_000, 3 * MAX_LINE_BYTES], ids=["a byte", "a read", "several limits"]
)
async def test_a_line_beyond_the_limit_is_dropped_as_a_whole(excess):
    longest = MAX_LINE_BYTES - len("end")
    sizes = (0, longest, longest + excess, 1, longest + excess, longest + excess, 2)
    lines: list[bytes] = []
    command = (sys.executable, "-I", "-S", "-c", PROGRAM, *map(str, sizes))
    ended = await Subprocesses().run(command, lines.append)
    assert ended.code == 0
    assert [len(line) - len("end") for line in lines] == [0, longest, 1, 2]
    assert all(line.endswith(b"end") for line in lines)
