"""Coroutines that set up, check and clean an AWS account.

Each coroutine corresponds to a command: `init`, for example, to ``cloudburst init``. Its
``settings`` name the account, the region and the resources. Names are imported on first use,
because importing boto takes a quarter of a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.aws.setup.changes import SetupStep, StepOutcome
    from cloudburst.aws.setup.check_account import doctor
    from cloudburst.aws.setup.checks import Check, CheckStatus, DoctorReport
    from cloudburst.aws.setup.destroy_account import DestroyReport, destroy
    from cloudburst.aws.setup.init_account import InitOptions, InitReport, init
    from cloudburst.aws.setup.logs import read_logs
    from cloudburst.aws.setup.permissions import Purpose, policy
    from cloudburst.aws.setup.prices import load_prices, refresh_prices
    from cloudburst.aws.setup.running_tasks import cleanup, list_tasks
    from cloudburst.models.account_tasks import CleanupReport, LogLine, RunningTask, TaskOwner
    from cloudburst.models.prices import PriceTable

_MODULES = {
    "cloudburst.aws.setup.changes": ("SetupStep", "StepOutcome"),
    "cloudburst.aws.setup.check_account": ("doctor",),
    "cloudburst.aws.setup.checks": ("Check", "CheckStatus", "DoctorReport"),
    "cloudburst.aws.setup.destroy_account": ("DestroyReport", "destroy"),
    "cloudburst.aws.setup.init_account": ("InitOptions", "InitReport", "init"),
    "cloudburst.aws.setup.logs": ("read_logs",),
    "cloudburst.aws.setup.permissions": ("Purpose", "policy"),
    "cloudburst.aws.setup.prices": ("load_prices", "refresh_prices"),
    "cloudburst.aws.setup.running_tasks": ("cleanup", "list_tasks"),
    "cloudburst.models.account_tasks": (
        "CleanupReport",
        "LogLine",
        "RunningTask",
        "TaskOwner",
    ),
    "cloudburst.models.prices": ("PriceTable",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Check",
    "CheckStatus",
    "CleanupReport",
    "DestroyReport",
    "DoctorReport",
    "InitOptions",
    "InitReport",
    "LogLine",
    "PriceTable",
    "Purpose",
    "RunningTask",
    "SetupStep",
    "StepOutcome",
    "TaskOwner",
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
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
