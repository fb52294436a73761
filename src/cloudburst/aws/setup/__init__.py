"""Coroutines that set up, check and clean an AWS account.

Each coroutine corresponds to a command: `init`, for example, to ``cloudburst init``. Its
``settings`` name the account, the region and the resources. Names are imported on first use,
because importing boto takes a quarter of a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.aws.client.price_list import load_prices as load_prices
    from cloudburst.aws.setup.changes import SetupStep as SetupStep
    from cloudburst.aws.setup.changes import StepOutcome as StepOutcome
    from cloudburst.aws.setup.check_account import doctor as doctor
    from cloudburst.aws.setup.checks import Check as Check
    from cloudburst.aws.setup.checks import CheckStatus as CheckStatus
    from cloudburst.aws.setup.checks import DoctorReport as DoctorReport
    from cloudburst.aws.setup.destroy_account import DestroyReport as DestroyReport
    from cloudburst.aws.setup.destroy_account import destroy as destroy
    from cloudburst.aws.setup.init_account import InitOptions as InitOptions
    from cloudburst.aws.setup.init_account import InitReport as InitReport
    from cloudburst.aws.setup.init_account import init as init
    from cloudburst.aws.setup.logs import read_logs as read_logs
    from cloudburst.aws.setup.permissions import Purpose as Purpose
    from cloudburst.aws.setup.permissions import policy as policy
    from cloudburst.aws.setup.price_refresh import refresh_prices as refresh_prices
    from cloudburst.aws.setup.running_tasks import cleanup as cleanup
    from cloudburst.aws.setup.running_tasks import list_tasks as list_tasks
    from cloudburst.models.account_tasks import CleanupReport as CleanupReport
    from cloudburst.models.account_tasks import LogLine as LogLine
    from cloudburst.models.account_tasks import RunningTask as RunningTask
    from cloudburst.models.account_tasks import TaskOwner as TaskOwner
    from cloudburst.models.prices import PriceTable as PriceTable

_MODULES = {
    "cloudburst.aws.client.price_list": ("load_prices",),
    "cloudburst.aws.setup.changes": ("SetupStep", "StepOutcome"),
    "cloudburst.aws.setup.check_account": ("doctor",),
    "cloudburst.aws.setup.checks": ("Check", "CheckStatus", "DoctorReport"),
    "cloudburst.aws.setup.destroy_account": ("DestroyReport", "destroy"),
    "cloudburst.aws.setup.init_account": ("InitOptions", "InitReport", "init"),
    "cloudburst.aws.setup.logs": ("read_logs",),
    "cloudburst.aws.setup.permissions": ("Purpose", "policy"),
    "cloudburst.aws.setup.price_refresh": ("refresh_prices",),
    "cloudburst.aws.setup.running_tasks": ("cleanup", "list_tasks"),
    "cloudburst.models.account_tasks": ("CleanupReport", "LogLine", "RunningTask", "TaskOwner"),
    "cloudburst.models.prices": ("PriceTable",),
}
_MODULE_OF = dict(sorted((name, module) for module, names in _MODULES.items() for name in names))
__all__ = list(_MODULE_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
