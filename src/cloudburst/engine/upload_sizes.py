"""Number of bytes that are sent over the uplink for a run, and for each of its scenes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cloudburst.engine.pool_state import Ticket
from cloudburst.models.scene import CheckedScene


def total_upload_size(scenes: Iterable[CheckedScene]) -> int:
    """Return how many bytes are sent for scenes, of which each file counts once.

    Files that workers get from S3 or web servers do not count.
    """
    sizes = {path: size for scene in scenes for path, size in scene.bytes_by_file.items()}
    return sum(sizes.values())


def add_upload_size(ticket: Ticket, scene: CheckedScene, senders: dict[Path, Ticket]) -> None:
    """Set how many bytes are sent for a scene, so that each file counts once for the run.

    A file of several scenes counts for the one with the most work, which is sent first. Files that
    workers get from S3 or web servers do not count.

    Args:
        ticket: Ticket of the scene, which is not queued yet.
        scene: The scene.
        senders: Ticket for which each file of the run counts so far. It is updated.
    """
    for path, size in scene.bytes_by_file.items():
        sender = senders.get(path)
        if sender is None or sender.work < ticket.work:
            senders[path] = ticket
            ticket.bytes_to_send += size
            if sender is not None:
                sender.bytes_to_send -= size
