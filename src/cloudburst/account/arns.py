"""Names of AWS's partitions in ARNs."""

from __future__ import annotations


def partition(region: str) -> str:
    """``aws``, or that of the regions apart: "ARN format", IAM user guide (2026-11)."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
