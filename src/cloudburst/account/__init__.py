"""Setting up, looking at and cleaning an AWS account, as coroutines.

Each is what the command of the same name does; ``settings`` says whose account, and where in it.
They are imported when they are wanted: boto takes a quarter of a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.account.diagnosis import Check, Diagnosis
    from cloudburst.account.examination import doctor
    from cloudburst.account.logs import read_logs
    from cloudburst.account.permissions import Purpose, policy
    from cloudburst.account.prices import load_prices, refresh_prices
    from cloudburst.account.setting_up import InitPlan, InitReport, init
    from cloudburst.account.sweep import cleanup, list_tasks
    from cloudburst.account.taking_down import DestroyReport, destroy
    from cloudburst.models.prices import PriceTable
    from cloudburst.models.running import CleanupReport, LogLine, RunningTask, Whose

_WHERE = {
    "Check": "account.diagnosis",
    "CleanupReport": "models.running",
    "DestroyReport": "account.taking_down",
    "Diagnosis": "account.diagnosis",
    "InitPlan": "account.setting_up",
    "InitReport": "account.setting_up",
    "LogLine": "models.running",
    "PriceTable": "models.prices",
    "Purpose": "account.permissions",
    "RunningTask": "models.running",
    "Whose": "models.running",
    "cleanup": "account.sweep",
    "destroy": "account.taking_down",
    "doctor": "account.examination",
    "init": "account.setting_up",
    "list_tasks": "account.sweep",
    "load_prices": "account.prices",
    "policy": "account.permissions",
    "read_logs": "account.logs",
    "refresh_prices": "account.prices",
}

__all__ = [
    "Check",
    "CleanupReport",
    "DestroyReport",
    "Diagnosis",
    "InitPlan",
    "InitReport",
    "LogLine",
    "PriceTable",
    "Purpose",
    "RunningTask",
    "Whose",
    "cleanup",
    "destroy",
    "doctor",
    "init",
    "list_tasks",
    "load_prices",
    "policy",
    "read_logs",
    "refresh_prices",
]


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(f"cloudburst.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
