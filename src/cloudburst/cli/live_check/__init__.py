"""Check of an AWS account with small tasks: what only AWS itself can show.

`plan_live` returns what the check starts and its maximum cost, `check_live` makes it. The command
is ``cloudburst doctor --live``.
"""

from cloudburst.cli.live_check.check import LivePlan, Part, check_live, plan_live
from cloudburst.cli.live_check.findings import Finding, Outcome

__all__ = ["Finding", "LivePlan", "Outcome", "Part", "check_live", "plan_live"]
