"""Fakes that keep the promises of the ports, for our tests and for those of our users."""

from importlib import import_module
from typing import TYPE_CHECKING

from cloudburst.testing.clock import VirtualClockLoop
from cloudburst.testing.fake import FakeCloud

if TYPE_CHECKING:
    from cloudburst.testing.emulator import (
        AWS_BUCKETS,
        Bucket,
        Call,
        EmulatorConfig,
        FargateEmulator,
        Fault,
        Lack,
        Task,
        TaskFault,
    )

__all__ = [
    "AWS_BUCKETS",
    "Bucket",
    "Call",
    "EmulatorConfig",
    "FakeCloud",
    "FargateEmulator",
    "Fault",
    "Lack",
    "Task",
    "TaskFault",
    "VirtualClockLoop",
]


def __getattr__(name: str) -> object:
    """The emulator brings libraries that take their time, so it is imported when it is wanted."""
    if name in __all__:
        return getattr(import_module("cloudburst.testing.emulator"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
