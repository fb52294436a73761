"""Check of an AWS account with small tasks: what only AWS itself can show.

`plan_live` returns what the check starts and its maximum cost, `check_live` makes it. The command
is ``cloudburst doctor --live``.
"""

from cloudburst.live_check.check import check_live
from cloudburst.live_check.findings import Finding, Outcome
from cloudburst.live_check.parts import LivePlan, Part, plan_live

__all__ = ["Finding", "LivePlan", "Outcome", "Part", "check_live", "plan_live"]
