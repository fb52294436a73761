"""Lines of ``cloudburst doctor`` on a narrow terminal."""

from __future__ import annotations

import io

from rich.console import Console

from cloudburst.aws.setup.checks import Check, CheckStatus, DoctorReport
from cloudburst.cli.doctor import DoctorSummary


def lines_of(fix: str) -> list[str]:
    check = Check(name="cluster", status=CheckStatus.FAILED, found="there is none", fix=fix)
    console = Console(width=60, file=io.StringIO(), color_system=None)
    console.print(DoctorSummary(DoctorReport(region="us-east-1", checks=(check,))), crop=False)
    return console.file.getvalue().splitlines()


def test_a_fix_stands_below_what_was_found() -> None:
    found, fix, *_ = lines_of("aws configure")
    assert found.index("there is none") == fix.index("→ aws configure")


def test_a_command_that_is_too_long_is_one_line_from_the_left() -> None:
    command = "aws ec2 revoke-security-group-ingress --group-id sg-1 --ip-permissions X"
    assert f"→ {command}" in lines_of(command)
