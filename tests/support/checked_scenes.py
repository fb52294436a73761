"""Scenes as the check before a run returns them."""

from __future__ import annotations

from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import CheckedScene, Scene

DEFAULTS = RenderOptions()


def as_checked(scene: Scene, options: RenderOptions = DEFAULTS, **more) -> CheckedScene:
    return CheckedScene(scene=scene, options=options, audio_seconds=1, image_bytes=1, **more)
