"""Fakes that keep the promises of the ports, for our tests and for those of our users."""

from cloudburst.testing.clock import VirtualClockLoop
from cloudburst.testing.emulator import (
    AWS_BUCKETS,
    Bucket,
    Call,
    EmulatorConfig,
    FargateEmulator,
    Fault,
    Task,
    TaskFault,
)
from cloudburst.testing.fake import FakeCloud

__all__ = [
    "AWS_BUCKETS",
    "Bucket",
    "Call",
    "EmulatorConfig",
    "FakeCloud",
    "FargateEmulator",
    "Fault",
    "Task",
    "TaskFault",
    "VirtualClockLoop",
]
