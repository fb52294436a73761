"""``init`` and ``doctor`` agree about who reaches the workers."""

from __future__ import annotations

import pytest

from cloudburst.aws.setup.check_account import doctor
from cloudburst.aws.setup.checks import CheckStatus
from cloudburst.aws.setup.init_account import StepOutcome
from support.setup_accounts import HERE, client, here, session, set_up

pytestmark = pytest.mark.anyio

PORT = {"IpProtocol": "tcp", "FromPort": 5000, "ToPort": 5000}
WORLD = {**PORT, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
WORLD_6 = {**PORT, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}


def group_of(emulator, *rules, name="by hand"):
    ec2 = client(emulator, "ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc)["GroupId"]
    if rules:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=list(rules))
    return group


def steps(report):
    return [(s.name, s.outcome, s.detail) for s in report.steps if s.resource == "security group"]


async def door(settings):
    diagnosis = await doctor(settings, find_address=here, session=session())
    (check,) = [check for check in diagnosis.checks if check.name == "security group"]
    return check


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("rule", "family"),
    [(WORLD, "IpRanges=[{CidrIp=0.0.0.0/0}]"), (WORLD_6, "Ipv6Ranges=[{CidrIpv6=::/0}]")],
)
async def test_a_group_of_others_that_is_open_to_the_world_is_no_tick(emulator, rule, family):
    ours = {**PORT, "IpRanges": [{"CidrIp": f"{HERE}/32"}]}
    group = group_of(emulator, rule, ours)
    changes = {"AWS_SECURITY_GROUP_ID": group}
    report, settings = await set_up(emulator, changes=changes)
    ((name, outcome, detail),) = steps(report)
    assert (name, outcome) == (group, StepOutcome.KEPT)
    assert detail.startswith("still open to the world")
    command = detail.partition("with: ")[2]
    assert command == (
        f"aws ec2 revoke-security-group-ingress --region us-east-1 --group-id {group} "
        f"--ip-permissions 'IpProtocol=tcp,FromPort=5000,ToPort=5000,{family}'"
    )
    found = await door(settings)
    assert found.status is CheckStatus.WARNING
    assert command in found.fix  # the same advice: another init would change nothing

    client(emulator, "ec2").revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    report, settings = await set_up(emulator, changes=changes)
    assert steps(report) == [(group, StepOutcome.FOUND, f"port 5000 open to {HERE}/32")]
    assert (await door(settings)).status is CheckStatus.PASSED


async def test_a_hand_made_rule_in_our_group_stays_and_is_reported(emulator):
    _, settings = await set_up(emulator)
    (group,) = settings.security_groups
    client(emulator, "ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=[WORLD])
    report, settings = await set_up(emulator, settings=settings, sources=("198.51.100.1",))
    # Everybody is let in already, so that nothing has to be opened for the new source.
    assert [step[1] for step in steps(report)] == [StepOutcome.UPDATED, StepOutcome.KEPT]
    assert "closed to" in steps(report)[0][2]
    assert "not created by init" in steps(report)[1][2]


async def test_every_group_of_the_tasks_is_looked_at(emulator):
    wide = group_of(emulator, WORLD, name="wide")
    narrow = group_of(emulator, {**PORT, "IpRanges": [{"CidrIp": f"{HERE}/32"}]}, name="narrow")
    changes = {"AWS_SECURITY_GROUP_ID": f"{narrow},{wide}"}
    report, _ = await set_up(emulator, changes=changes)
    told = {name: outcome for name, outcome, _ in steps(report)}
    assert told[wide] is StepOutcome.KEPT


async def test_what_an_earlier_init_has_opened_is_kept_if_wanted_and_else_closed(emulator):
    _, settings = await set_up(emulator, open_to_world=True)
    assert (await door(settings)).fix == "cloudburst init opens it to this machine only"
    (group,) = settings.security_groups
    report, _ = await set_up(emulator, settings=settings, open_to_world=True)
    assert steps(report) == [(group, StepOutcome.FOUND, "port 5000 open to 0.0.0.0/0")]
    report, _ = await set_up(emulator, settings=settings, keep_sources=True)
    ((_, outcome, detail),) = steps(report)
    assert outcome is StepOutcome.KEPT
    assert "kept by --add" in detail
    report, settings = await set_up(emulator, settings=settings)
    assert [step[1] for step in steps(report)] == [StepOutcome.UPDATED]
    assert (await door(settings)).status is CheckStatus.PASSED
