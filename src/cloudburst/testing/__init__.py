"""Test tools: a fake backend, a virtual clock, and the emulator of ECS on this machine."""

from importlib import import_module
from typing import TYPE_CHECKING

from cloudburst.testing.clock import VirtualClockLoop
from cloudburst.testing.fake import FakeCloud

if TYPE_CHECKING:
    from cloudburst.emulator import (
        AWS_BUCKETS,
        AWS_S3_FAULTS,
        Bucket,
        Call,
        CapacityShortage,
        EmulatedRegistry,
        EmulatorConfig,
        FargateEmulator,
        Fault,
        ImagePull,
        Task,
        TaskFault,
        s3_fault,
    )

__all__ = [
    "AWS_BUCKETS",
    "AWS_S3_FAULTS",
    "Bucket",
    "Call",
    "CapacityShortage",
    "EmulatedRegistry",
    "EmulatorConfig",
    "FakeCloud",
    "FargateEmulator",
    "Fault",
    "ImagePull",
    "Task",
    "TaskFault",
    "VirtualClockLoop",
    "s3_fault",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("cloudburst.emulator"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
