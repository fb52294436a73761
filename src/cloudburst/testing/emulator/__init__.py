"""ECS Fargate on this machine, for tests: AWS's API, and a real process for each task."""

from cloudburst.testing.emulator.config import AWS_BUCKETS, Bucket, EmulatorConfig, Lack, TaskFault
from cloudburst.testing.emulator.emulator import FargateEmulator
from cloudburst.testing.emulator.facts import Call, Task
from cloudburst.testing.emulator.faults import Fault

__all__ = [
    "AWS_BUCKETS",
    "Bucket",
    "Call",
    "EmulatorConfig",
    "FargateEmulator",
    "Fault",
    "Lack",
    "Task",
    "TaskFault",
]
