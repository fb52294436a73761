"""An emulated account with a registry, whose tasks run the images that tests push."""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path

import pytest

from cloudburst.emulator import bubblewrap
from support.emulator_calls import client, now, reach, run, until
from support.needed_programs import require
from support.tiny_images import define, lines_of, push

SHORT = {"provisioning": 0.02, "pending": 0.02, "deprovisioning": 0.02}
"""Times of tasks whose states no test looks at, in seconds."""


@cache
def reason_not_run():
    """Why images cannot run on this machine; empty if they can."""
    with tempfile.TemporaryDirectory() as folder:
        return bubblewrap.reason_not_run(Path(folder))


def require_bubblewrap():
    require("bwrap")
    if reason := reason_not_run():
        pytest.skip(f"this machine runs no images: {reason}")


class ImageAccount:
    """Emulator with its registry; tests share it, each with repositories of its own."""

    def __init__(self, emulator, server):
        self.emulator = emulator
        self.server = server

    def add(self, image):
        """Push an image to a new repository; returns the name of the image without a tag."""
        name = self.server.new_repository("tiny")
        made = client(self.emulator, "ecr").create_repository(repositoryName=name)
        push(self.server, name, image)
        return made["repository"]["repositoryUri"]

    def launch(self, image, script=None, **more):
        """Run a task with one container; the script replaces the image's command."""
        more |= {} if script is None else {"command": [script]}
        [task] = run(self.emulator, taskDefinition=define(self.emulator, image, **more))
        return task

    def start(self, image, script=None, **more):
        return reach(self.emulator, self.launch(image, script, **more), "RUNNING")

    def end(self, task):
        """Wait for the end of a task; returns the task and its output."""
        until(lambda: now(self.emulator, task).last_status == "STOPPED", seconds=20)
        task = now(self.emulator, task)
        return task, (lines_of(self.emulator, task) if task.started else [])

    def run(self, image, script=None, **more):
        return self.end(self.launch(image, script, **more))


def status_of(pid):
    """What Linux says about a process."""
    return dict(re.findall(r"(?m)^(\w+):\s+(.*)$", Path(f"/proc/{pid}/status").read_text()))


def processes_with(word):
    """Ids of the processes with a word in their command."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word in (entry / "cmdline").read_bytes().decode():
                found.append(int(entry.name))
        except (OSError, UnicodeDecodeError):
            continue
    return found
