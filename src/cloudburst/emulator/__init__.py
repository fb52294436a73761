"""Emulator of ECS Fargate for tests: it serves AWS's APIs locally and runs tasks as processes."""

from cloudburst.emulator.config import (
    AWS_BUCKETS,
    Bucket,
    CapacityShortage,
    EmulatedRegistry,
    EmulatorConfig,
    TaskFault,
)
from cloudburst.emulator.emulator import FargateEmulator
from cloudburst.emulator.faults import AWS_S3_FAULTS, Call, Fault, s3_fault
from cloudburst.emulator.task_state import ImagePull, Task

__all__ = [
    "AWS_BUCKETS",
    "AWS_S3_FAULTS",
    "Bucket",
    "Call",
    "CapacityShortage",
    "EmulatedRegistry",
    "EmulatorConfig",
    "FargateEmulator",
    "Fault",
    "ImagePull",
    "Task",
    "TaskFault",
    "s3_fault",
]
