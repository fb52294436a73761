"""Both event loops, each with a clock that jumps; and scenes of real files."""

from __future__ import annotations

import atexit
import logging
import struct
import wave
from pathlib import Path

import pytest
import trio.testing
from hypothesis import settings
from PIL import Image

from cloudburst.aws.fargate import run_registry
from cloudburst.testing import VirtualClockLoop

# Tests leave tasks of emulators behind, which end with them.
atexit.unregister(run_registry._print_unstopped_tasks)

# How long an example takes says more about the machine than about us.
settings.register_profile("cloudburst", deadline=None)
settings.load_profile("cloudburst")


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"loop_factory": VirtualClockLoop}), id="asyncio"),
        pytest.param("trio", id="trio"),
    ]
)
def anyio_backend(request):
    """Virtual time. A test with threads, sockets or processes overrides this with "asyncio"."""
    if request.param == "trio":
        return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
    return request.param


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """What outlives a run is kept in a folder of this test, and nobody's home is touched."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Defects(logging.Handler):
    """The exceptions that the engine did not expect and has survived."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        if getattr(record, "defect", False):
            self.records.append(record)


@pytest.fixture(autouse=True)
def defects():
    """A test fails with the defects that it has not taken: ``defects.records.clear()``."""
    handler = Defects()
    logger = logging.getLogger("cloudburst.engine.defects")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    assert not [record.getMessage() for record in handler.records]


@pytest.fixture
def make_scene(tmp_path):
    """A scene of small real files: ``make_scene("name", seconds=1)``."""

    def make(name="scene", *, seconds=1.0, size=(320, 180), color="teal", folder=tmp_path):
        image, audio = folder / f"{name}.png", folder / f"{name}.wav"
        Image.new("RGB", size, color).save(image)
        write_tone(audio, seconds)
        return {"scene_name": name, "image_path": str(image), "audio_path": str(audio)}

    return make


def write_tone(path: Path, seconds: float, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        samples = (int(9000 * ((i // 20) % 2 * 2 - 1)) for i in range(int(seconds * rate)))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
