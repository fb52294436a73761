"""Every answer has the members, types and words that botocore's own description allows."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from support.emulator_calls import (
    CLUSTER,
    DEFINITION,
    SESSION,
    client,
    network,
    new_client,
    now,
    reach,
    request,
    run,
    spot,
    until,
)


def faults(shape, value, path):  # noqa: C901, PLR0911
    """What is wrong with a JSON value."""
    match shape.type_name:
        case "structure":
            if not isinstance(value, dict):
                return [f"{path}: {value!r} is no structure"]
            unknown = [f"{path}.{name}: unknown" for name in value if name not in shape.members]
            missing = [f"{path}.{n}: missing" for n in shape.required_members if n not in value]
            known = [
                fault
                for name, inner in value.items()
                if name in shape.members
                for fault in faults(shape.members[name], inner, f"{path}.{name}")
            ]
            return unknown + missing + known
        case "list":
            if not isinstance(value, list):
                return [f"{path}: {value!r} is no list"]
            return [f for one in value for f in faults(shape.member, one, f"{path}[]")]
        case "map":
            return [] if isinstance(value, dict) else [f"{path}: {value!r} is no map"]
        case "string":
            if not isinstance(value, str):
                return [f"{path}: {value!r} is no string"]
            words = getattr(shape, "enum", None) or [value]
            return [] if value in words else [f"{path}: {value!r} is none of {words}"]
        case "integer" | "long":
            fine = isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            fine = isinstance(value, bool)
        case "double" | "float" | "timestamp":
            fine = isinstance(value, int | float) and not isinstance(value, bool)
        case other:
            return [f"{path}: {other} is not expected here"]
    return [] if fine else [f"{path}: {value!r} is no {shape.type_name}"]


def xml_faults(shape, element, path):
    """What is wrong with an XML element."""
    if shape.type_name == "structure":
        names = {m.serialization.get("name", name): m for name, m in shape.members.items()}
        found = []
        for child in element:
            tag = child.tag.rpartition("}")[2]
            if tag in names:
                found += xml_faults(names[tag], child, f"{path}.{tag}")
            elif tag.lower() not in {"requestid", "responsemetadata"}:
                found.append(f"{path}.{tag}: unknown")
        return found
    if shape.type_name == "list":
        name = shape.member.serialization.get("name", "member")
        wrong = [c.tag for c in element if c.tag.rpartition("}")[2] != name]
        return [f"{path}: {wrong} in place of {name}"] * bool(wrong) + [
            fault for child in element for fault in xml_faults(shape.member, child, f"{path}[]")
        ]
    text = element.text or ""
    if shape.type_name == "boolean" and text not in {"true", "false"}:
        return [f"{path}: {text!r} is no boolean"]
    if shape.type_name == "string" and text not in (getattr(shape, "enum", None) or [text]):
        return [f"{path}: {text!r} is none of {shape.enum}"]
    return []


class Checked:
    """Clients that look at each answer before botocore forgets what it does not know."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.operations = set()
        self.faults = []
        self._clients = {}

    def __getattr__(self, service):
        service = service.replace("_", "-")
        if service not in self._clients:
            made = self._clients[service] = new_client(self.emulator, service)
            made.meta.events.register("before-parse.*", self.look)
        return self._clients[service]

    def look(self, operation_model, response_dict, **_):
        shape, body = operation_model.output_shape, response_dict["body"]
        self.operations.add(operation_model.name)
        if shape is None or response_dict["status_code"] != 200:
            return
        if operation_model.service_model.protocol == "json":
            self.faults += faults(shape, json.loads(body), operation_model.name)
        else:
            root = ET.fromstring(body)
            wrapper = shape.serialization.get("resultWrapper")
            content = next(c for c in root if c.tag.endswith(wrapper)) if wrapper else root
            self.faults += xml_faults(shape, content, operation_model.name)


def test_the_check_finds_what_is_wrong():
    shape = SESSION.get_service_model("ecs").operation_model("StopTask").output_shape
    assert faults(shape, {"task": {"lastStatus": "RUNNING", "version": 1}}, "it") == []
    wrong = {"task": {"nonsense": 1, "version": "1", "stopCode": "Tired", "createdAt": "now"}}
    found = faults(shape, wrong, "it")
    assert [fault.partition(":")[0] for fault in found] == [
        "it.task.nonsense",
        "it.task.version",
        "it.task.stopCode",
        "it.task.createdAt",
    ]
    ec2 = SESSION.get_service_model("ec2").operation_model("DescribeVpcs").output_shape
    text = "<r><vpcSet><item><vpcId>1</vpcId><isDefault>yes</isDefault><x/></item></vpcSet></r>"
    found = xml_faults(ec2, ET.fromstring(text), "it")
    assert found == ["it.vpcSet[].isDefault: 'yes' is no boolean", "it.vpcSet[].x: unknown"]


def test_every_answer_fits(emulate):
    emulator = emulate(
        provisioning=0.5,
        new_task_invisible=0,
        disagreement=0,
        deprovisioning=1.0,
        max_running=4,
    )
    aws = Checked(emulator)
    ecs = aws.ecs
    ecs.create_cluster(clusterName="second", tags=[{"key": "a", "value": "b"}])
    ecs.put_cluster_capacity_providers(
        cluster="second", capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
    )
    ecs.list_clusters()
    ecs.describe_clusters(clusters=[CLUSTER, "nobody"], include=["TAGS", "SETTINGS"])
    ecs.delete_cluster(cluster="second")
    emulator.register(
        container={"healthCheck": {"command": ["CMD-SHELL", "exit 0"], "interval": 1}}
    )
    registered = ecs.register_task_definition(
        family="mine",
        containerDefinitions=[{"name": "one", "image": "busybox", "memory": 512}],
        tags=[{"key": "a", "value": "b"}],
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.list_task_definitions()
    ecs.describe_task_definition(taskDefinition=DEFINITION, include=["TAGS"])
    ecs.deregister_task_definition(taskDefinition=registered)

    asked = request(emulator, startedBy="me", tags=[{"key": "a", "value": "b"}], count=2)
    first, second = ecs.run_task(**asked)["tasks"]
    ecs.run_task(**request(emulator, count=3, **spot(), overrides={"cpu": "256", "memory": "512"}))
    seen = set()

    def looked(wanted):
        tasks = ecs.describe_tasks(
            cluster=CLUSTER, tasks=[t.id for t in emulator.tasks] + ["x"], include=["TAGS"]
        )["tasks"]
        aws.ec2.describe_network_interfaces()
        seen.update(task["lastStatus"] for task in tasks)
        return all(task["lastStatus"] == wanted for task in tasks)

    until(lambda: looked("RUNNING"), interval=0.1)
    ecs.list_tasks(cluster=CLUSTER, maxResults=1)
    ecs.list_tags_for_resource(resourceArn=first["taskArn"])
    until(lambda: emulator.tasks[0].healthy)
    looked("RUNNING")
    emulator.interrupt()
    emulator.crash(second["taskArn"])
    for task in emulator.tasks:
        ecs.stop_task(cluster=CLUSTER, task=task.arn, reason="done")
    until(lambda: looked("STOPPED"), interval=0.1)
    assert seen >= {"PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED"}

    group, stream = "/ecs/cloudburst", f"ecs/cloudburst-processor/{first['taskArn'][-32:]}"
    aws.logs.create_log_group(logGroupName="/mine", tags={"a": "b"})
    aws.logs.put_retention_policy(logGroupName="/mine", retentionInDays=7)
    groups = aws.logs.describe_log_groups(logGroupNamePrefix="/")["logGroups"]
    aws.logs.list_tags_for_resource(resourceArn=groups[0]["logGroupArn"])
    aws.logs.delete_retention_policy(logGroupName="/mine")
    aws.logs.delete_log_group(logGroupName="/mine")
    aws.logs.describe_log_streams(logGroupName=group)
    assert aws.logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]

    aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])
    aws.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": ["us-east-1a"]}])
    aws.ec2.describe_security_groups()
    aws.ec2.describe_route_tables(Filters=[{"Name": "association.main", "Values": ["true"]}])
    aws.ec2.describe_vpc_endpoints()
    aws.sts.get_caller_identity()
    aws.sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/me", RoleSessionName="here")
    aws.iam.simulate_principal_policy(
        PolicySourceArn="arn:aws:iam::123456789012:user/me", ActionNames=["ecs:RunTask"]
    )
    quotas = aws.service_quotas
    quotas.get_service_quota(ServiceCode="fargate", QuotaCode="L-3032A538")
    quotas.get_aws_default_service_quota(ServiceCode="fargate", QuotaCode="L-36FBB829")

    assert aws.faults == []
    account = emulator._inside.account
    tables = [*account._operations.values(), account.ec2.operations]
    assert {name for table in tables for name in table} - aws.operations == set()


ERRORS = [
    ("ecs", "describe_tasks", {"cluster": "x", "tasks": ["x"]}, "ClusterNotFoundException"),
    ("ecs", "describe_task_definition", {"taskDefinition": "x"}, "ClientException"),
    ("ecs", "describe_tasks", {"cluster": CLUSTER, "tasks": []}, "InvalidParameterException"),
    ("logs", "delete_log_group", {"logGroupName": "x"}, "ResourceNotFoundException"),
    (
        "logs",
        "create_log_group",
        {"logGroupName": "/ecs/cloudburst"},
        "ResourceAlreadyExistsException",
    ),
    (
        "service-quotas",
        "get_service_quota",
        {"ServiceCode": "fargate", "QuotaCode": "L-0"},
        "NoSuchResourceException",
    ),
]


@pytest.mark.parametrize(("service", "operation", "asked", "name"), ERRORS)
def test_refusals_are_exceptions_that_the_operation_declares(
    emulator, service, operation, asked, name
):
    aws = client(emulator, service)
    declared = aws.meta.service_model.operation_model(
        aws.meta.method_to_api_mapping[operation]
    ).error_shapes
    assert name in {shape.name for shape in declared}
    with pytest.raises(getattr(aws.exceptions, name)) as caught:
        getattr(aws, operation)(**asked)
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["RequestId"]


def test_ec2_refuses_in_xml(emulator):
    from botocore.exceptions import ClientError

    ec2 = client(emulator, "ec2")
    with pytest.raises(ClientError) as caught:
        ec2.describe_subnets(SubnetIds=["subnet-0"])
    assert caught.value.response["Error"]["Code"] == "InvalidSubnetID.NotFound"


def test_many_interfaces_in_one_call_and_one_that_is_not_there(emulator):
    tasks = run(emulator, count=10, networkConfiguration=network(emulator))
    ids = [reach(emulator, task, "RUNNING").interface for task in tasks]
    ec2 = client(emulator, "ec2")
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=ids)["NetworkInterfaces"]
    assert [one["NetworkInterfaceId"] for one in found] == ids
    addresses = {one["Association"]["PublicIp"] for one in found}
    assert addresses == {now(emulator, task).address for task in tasks}
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match="InvalidNetworkInterfaceID"):
        ec2.describe_network_interfaces(NetworkInterfaceIds=[*ids, "eni-0"])
