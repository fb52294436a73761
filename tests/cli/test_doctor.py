"""Lines of ``cloudburst doctor`` on a narrow terminal."""

from __future__ import annotations

import io

from rich.console import Console, Group

from cloudburst.aws.setup.checks import Check, CheckStatus, DoctorReport
from cloudburst.cli.doctor import doctor_lines


def lines_of(fix: str) -> list[str]:
    check = Check(name="cluster", status=CheckStatus.FAILED, found="there is none", fix=fix)
    console = Console(width=60, file=io.StringIO(), color_system=None)
    report = DoctorReport(region="us-east-1", checks=(check,))
    console.print(Group(*doctor_lines(report)), crop=False)
    return console.file.getvalue().splitlines()


def test_a_fix_stands_below_what_was_found() -> None:
    found, fix, *_ = lines_of("cloudburst init")
    assert found.index("there is none") == fix.index("→ cloudburst init")


def test_a_command_of_aws_is_one_line_from_the_left() -> None:
    command = "aws ec2 revoke-security-group-ingress --group-id sg-1 --ip-permissions X"
    assert f"→ {command}" in lines_of(command)
