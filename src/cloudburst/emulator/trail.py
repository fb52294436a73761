"""Emulated CloudTrail API: the records of RunTask, without the values of environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloudburst.emulator.task_registry import TaskRegistry

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
"""Text with which CloudTrail replaces values of environment variables (2026-11):
https://github.com/aws-samples/aws-batch-runtime-monitoring/issues/20."""


def lookup_events(registry: TaskRegistry, _: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record for each task, as LookupEvents does for the event RunTask."""
    arns = [task.arn for task in registry.snapshots.values()]
    records = [json.dumps({"taskArn": arn, "environment": HIDDEN}) for arn in arns]
    return {"Events": [{"EventName": "RunTask", "CloudTrailEvent": one} for one in records]}
