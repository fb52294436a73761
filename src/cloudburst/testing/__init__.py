"""Test tools: a fake backend, a virtual clock, and the emulator of ECS on this machine."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.emulator.config import AWS_BUCKETS as AWS_BUCKETS
    from cloudburst.emulator.config import Bucket as Bucket
    from cloudburst.emulator.config import CapacityShortage as CapacityShortage
    from cloudburst.emulator.config import EmulatedRegistry as EmulatedRegistry
    from cloudburst.emulator.config import EmulatorConfig as EmulatorConfig
    from cloudburst.emulator.config import TaskFault as TaskFault
    from cloudburst.emulator.emulator import FargateEmulator as FargateEmulator
    from cloudburst.emulator.faults import AWS_S3_FAULTS as AWS_S3_FAULTS
    from cloudburst.emulator.faults import Call as Call
    from cloudburst.emulator.faults import Fault as Fault
    from cloudburst.emulator.faults import s3_fault as s3_fault
    from cloudburst.emulator.task_state import ImagePull as ImagePull
    from cloudburst.emulator.task_state import Task as Task
    from cloudburst.testing.clock import VirtualClockLoop as VirtualClockLoop
    from cloudburst.testing.fake import FakeCloud as FakeCloud

_MODULES = {
    "cloudburst.emulator.config": (
        *("AWS_BUCKETS", "Bucket", "CapacityShortage"),
        *("EmulatedRegistry", "EmulatorConfig", "TaskFault"),
    ),
    "cloudburst.emulator.emulator": ("FargateEmulator",),
    "cloudburst.emulator.faults": ("AWS_S3_FAULTS", "Call", "Fault", "s3_fault"),
    "cloudburst.emulator.task_state": ("ImagePull", "Task"),
    "cloudburst.testing.clock": ("VirtualClockLoop",),
    "cloudburst.testing.fake": ("FakeCloud",),
}
_MODULE_OF = dict(sorted((name, module) for module, names in _MODULES.items() for name in names))
__all__ = list(_MODULE_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
