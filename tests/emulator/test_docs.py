"""The code in ``docs/internals/emulator.md`` runs."""

from __future__ import annotations

import re

import pytest

from cloudburst import testing
from support.project import DOCS

TEXT = (DOCS / "internals" / "emulator.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_every_block_runs(capsys):
    names = {name: getattr(testing, name) for name in testing.__all__} | {"pytest": pytest}
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        exec(block, names)
    assert "AWS_ENDPOINT_URL" in capsys.readouterr().out


@pytest.mark.parametrize("cls", [testing.TaskFault, testing.FargateEmulator])
def test_everything_that_can_go_wrong_is_told(cls):
    public = {name for name in dir(cls) if not name.startswith("_")}
    public -= {"url", "environment", "register", "config"}
    assert {name for name in public if not re.search(rf"\b{name}\b", TEXT)} == set()
