"""The services beside ECS: logs and what moto adds."""

from __future__ import annotations

import json
import socket

import pytest
from botocore.exceptions import ClientError

from support.emulator_calls import (
    CLUSTER,
    MAIN,
    ask,
    client,
    logged,
    network,
    reach,
    refused,
    run,
    until,
)

GROUP = "/ecs/cloudburst"
TALKER = ["sh", "-c", 'n=0; while [ $n -lt 25 ]; do n=$((n+1)); echo "line $n"; done; sleep 60']


def messages(answer):
    return [event["message"] for event in answer["events"]]


class TestLogs:
    """What workers write is found in CloudWatch Logs."""

    @pytest.fixture
    def talked(self, emulate):
        emulator = emulate(worker=TALKER)
        [task] = run(emulator)
        reach(emulator, task, "RUNNING")
        logs = client(emulator, "logs")
        stream = f"ecs/{MAIN}/{task.id}"
        where = {"logGroupName": GROUP, "logStreamName": stream}
        until(lambda: len(logs.get_log_events(**where)["events"]) == 25)
        return logs, where, task, emulator

    def test_forwards_page_by_page(self, talked):
        logs, where, _, _ = talked
        seen, token = [], {}
        while True:
            page = logs.get_log_events(**where, limit=10, startFromHead=True, **token)
            if token.get("nextToken") == page["nextForwardToken"]:
                break
            seen += messages(page)
            token = {"nextToken": page["nextForwardToken"]}
        assert seen == [f"line {n}" for n in range(1, 26)]

    def test_the_end_comes_first_unless_asked_otherwise(self, talked):
        logs, where, _, _ = talked
        page = logs.get_log_events(**where, limit=3)
        assert messages(page) == ["line 23", "line 24", "line 25"]
        page = logs.get_log_events(**where, limit=3, nextToken=page["nextBackwardToken"])
        assert messages(page) == ["line 20", "line 21", "line 22"]

    def test_the_last_words_of_a_stopped_task_stay(self, talked):
        logs, where, task, emulator = talked
        client(emulator, "ecs").stop_task(cluster=CLUSTER, task=task.arn)
        reach(emulator, task, "STOPPED")
        assert len(logs.get_log_events(**where)["events"]) == 25
        streams = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
        assert where["logStreamName"] in {stream["logStreamName"] for stream in streams}

    def test_streams_that_are_not_there(self, talked):
        logs, where, _, _ = talked
        for missing in ({**where, "logStreamName": "x"}, {**where, "logGroupName": "x"}):
            with refused("ResourceNotFoundException"):
                logs.get_log_events(**missing)


def test_a_worker_that_cannot_be_started_says_so(emulate):
    emulator = emulate(worker=["/no/such/program"])
    [task] = run(emulator)
    task = until(lambda: emulator.tasks[0].stopped and emulator.tasks[0])
    assert (task.stop_code, task.exit_code) == ("EssentialContainerExited", 127)
    assert "/no/such/program" in "".join(logged(emulator))


def test_long_and_strange_output_is_kept(emulate):
    script = r"""head -c 600000 /dev/zero | tr '\0' x; printf '\n\377\nno end'; exit 3"""
    emulator = emulate(worker=["sh", "-c", script])
    [task] = run(emulator)
    task = until(lambda: emulator.tasks[0].stopped and emulator.tasks[0])
    assert task.exit_code == 3
    told = logged(emulator)
    assert max(map(len, told)) == 256 * 1024
    assert told[-2:] == ["\ufffd", "no end"]


def test_without_moto_the_rest_is_unknown(emulator):
    with pytest.raises(ClientError):
        client(emulator, "sqs").list_queues()
    with refused("UnknownOperationException"):
        client(emulator, "iam").list_roles()
    with pytest.raises(ClientError, match="the emulator has no price list"):
        client(emulator, "pricing").get_products(ServiceCode="AmazonECS")


@pytest.mark.real
@pytest.mark.timeout(60)
class TestMoto:
    """What the emulator does not know, moto does."""

    def test_is_started_by_the_first_call_that_needs_it(self, emulate):
        """And the network of the account stays the same."""
        pytest.importorskip("moto")
        both = emulate(moto=None)
        ec2 = client(both, "ec2")

        def looked():
            return (
                sorted(one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]),
                sorted(one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]),
                [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]],
                [
                    sorted(route["GatewayId"] for route in one["Routes"])
                    for one in ec2.describe_route_tables()["RouteTables"]
                ],
            )

        before = looked()
        assert len(before[0]) == 6
        ec2.create_tags(Resources=[before[2][0]], Tags=[{"Key": "a", "Value": "b"}])
        assert looked() == before
        sqs = client(both, "sqs")
        queue = sqs.create_queue(QueueName="q")["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody="hello")
        assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"
        iam = client(both, "iam")
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust)
        iam.attach_role_policy(
            RoleName="r",
            PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy",
        )
        attached = iam.list_attached_role_policies(RoleName="r")["AttachedPolicies"]
        assert attached[0]["PolicyName"] == "AmazonECSTaskExecutionRolePolicy"

    def test_a_task_is_reached_as_its_security_groups_say(self, with_moto):
        ec2 = client(with_moto, "ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
        where = network(with_moto, securityGroups=[group])
        [closed] = run(with_moto, networkConfiguration=where)
        rule = {
            "IpProtocol": "tcp",
            "FromPort": 5000,
            "ToPort": 5000,
            "IpRanges": [{"CidrIp": "127.0.0.1/32"}],
        }
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        [opened] = run(with_moto, networkConfiguration=where)
        address = reach(with_moto, closed, "RUNNING").address
        with pytest.raises(TimeoutError):
            socket.create_connection((address, 5000), timeout=0.7)
        assert ask(reach(with_moto, opened, "RUNNING"))[0] == 200
        with refused("InvalidParameterException"):
            run(with_moto, networkConfiguration=network(with_moto, securityGroups=["sg-0"]))
        with refused("InvalidParameterException"):
            run(with_moto, networkConfiguration=network(with_moto, subnets=["subnet-0"]))

    def test_network_interfaces_are_still_those_of_tasks(self, with_moto):
        client(with_moto, "sqs").list_queues()
        [task] = run(with_moto)
        task = reach(with_moto, task, "RUNNING")
        found = client(with_moto, "ec2").describe_network_interfaces(
            NetworkInterfaceIds=[task.interface]
        )["NetworkInterfaces"]
        assert found[0]["Association"]["PublicIp"] == task.address
