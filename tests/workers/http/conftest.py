"""Fake native workers, and scenes of files that only these read."""

from __future__ import annotations

import pytest

from cloudburst.models.limits import Timeouts
from cloudburst.models.scene import Scene
from support.fake_native_service import Studio


@pytest.fixture
def studio():
    return Studio()


@pytest.fixture
def hasty():
    """Return short timeouts, so that a stopped worker costs a test little time."""
    return Timeouts(silence=0.4, call=0.3)


@pytest.fixture
def make_scene(tmp_path):
    def make(name="one", *, image=b"picture" * 1000, subtitle=b"1\n"):
        for kind, content in {"png": image, "mp3": b"sound " * 2000, "srt": subtitle}.items():
            (tmp_path / f"{name}.{kind}").write_bytes(content)
        return Scene(
            name=name,
            image=tmp_path / f"{name}.png",
            audio=tmp_path / f"{name}.mp3",
            subtitle=tmp_path / f"{name}.srt",
        )

    return make
