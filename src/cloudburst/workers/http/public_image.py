"""What the public image can render: its protocol has few render options."""

from __future__ import annotations

from pathlib import Path

from cloudburst.errors import SceneFault
from cloudburst.models.camera_effects import Effect
from cloudburst.models.scene import CheckedScene

OPTIONS = frozenset(
    (
        "language",
        "effects",
        "watermark",
        "is_portrait",
        "background_box",
        "background_opacity",
        "font_size",
        "outline_color",
    )
)
"""Options that the public image knows; `RenderOptions` describes them."""
EFFECTS = (Effect.ZOOM_IN, Effect.ZOOM_OUT, Effect.PAN_LEFT, Effect.PAN_RIGHT, Effect.RANDOM)
"""Camera movements that the public image knows."""


def find_unsupported(scene: CheckedScene, image: str) -> list[SceneFault]:
    """Return a fault for each option and field of a scene that the public image cannot render.

    Args:
        scene: The scene, with its options.
        image: Name of the image, or other words for the workers, for the errors.
    """
    files = scene.scene.files() | scene.options.files()
    changed = scene.options.model_dump(exclude_defaults=True)
    reason = f"a file on this machine, because {image} gets none from S3 and web servers"
    faults = [
        SceneFault(scene.scene.name, field, str(location), reason)
        for field, location in files.items()
        if not isinstance(location, Path)
    ]
    if (seconds := scene.scene.duration) is not None:
        reason = f"an audio file, because {image} cannot render a scene without one"
        faults.append(SceneFault(scene.scene.name, "duration", f"{seconds:g}", reason))
    faults += [
        _fault(scene, name, str(value), "the default", image)
        for name, value in changed.items()
        if name not in OPTIONS
    ]
    if unknown := [effect for effect in scene.options.effects if effect not in EFFECTS]:
        known = f"some of {', '.join(EFFECTS)}"
        faults.append(_fault(scene, "effects", ", ".join(unknown), known, image))
    return faults


def _fault(scene: CheckedScene, option: str, found: str, expected: str, image: str) -> SceneFault:
    reason = f"{expected}, because {image} cannot render anything else"
    return SceneFault(scene.scene.name, f"options.{option}", found, reason)
