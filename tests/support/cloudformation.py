"""Stacks of our CloudFormation template: its functions resolved, and its resources created."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from cloudburst.aws import setup
from cloudburst.aws.setup.permissions import PolicyScope, Purpose, policy_document
from support.setup_accounts import client

TEMPLATE = Path(setup.__file__).with_name("template.yaml")
ACCOUNT = "123456789012"
STACK_TAGS = {"aws:cloudformation:stack-name": "films"}
"""Tags that CloudFormation adds to the resources of a stack."""
_ABSENT = object()
"""Value of ``AWS::NoValue``."""


class _Loader(yaml.SafeLoader):
    """Loader that reads ``!Name value`` as the pair of name and value."""


def _function(loader, name, node):
    if isinstance(node, yaml.ScalarNode):
        return name, loader.construct_scalar(node)
    return name, loader.construct_sequence(node, deep=True)


_Loader.add_multi_constructor("!", _function)


class _Stack:
    """Parameters and conditions of a stack, and the functions of CloudFormation in its template."""

    def __init__(self, *, region, partition, **parameters):
        template = yaml.load(TEMPLATE.read_text(), _Loader)
        assert parameters.keys() <= template["Parameters"].keys()
        defaults = {name: one.get("Default") for name, one in template["Parameters"].items()}
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::NoValue": _ABSENT,
            "AWS::Partition": partition,
            "AWS::Region": region,
        }
        self._values = {**defaults, **parameters, **pseudo}
        self._conditions = template["Conditions"]
        self._resources = template["Resources"]
        self._functions = {
            "Ref": self._values.__getitem__,
            "Sub": self._sub,
            "If": lambda args: self.value(args[1] if self.holds(args[0]) else args[2]),
            "Equals": lambda args: self.value(args[0]) == self.value(args[1]),
            "Not": lambda args: not self.value(args[0]),
            "Split": lambda args: self.value(args[1]).split(args[0]),
            "Select": lambda args: self.value(args[1])[args[0]],
            "GetAtt": self._get_att,
        }

    def resources(self):
        return {
            name: self.value(one["Properties"])
            for name, one in self._resources.items()
            if "Condition" not in one or self.holds(one["Condition"])
        }

    def holds(self, condition):
        return self.value(self._conditions[condition])

    def value(self, one):
        if isinstance(one, tuple):
            name, argument = one
            return self._functions[name](argument)
        if isinstance(one, dict):
            return {key: self.value(each) for key, each in one.items()}
        if isinstance(one, list):
            return [found for each in one if (found := self.value(each)) is not _ABSENT]
        return one

    def _sub(self, text):
        return re.sub(r"\$\{(.+?)\}", lambda match: str(self._values[match[1]]), text)

    def _get_att(self, attribute):
        assert attribute == "Repository.Arn"
        name = self._resources["Repository"]["Properties"]["RepositoryName"]
        ecr = self._sub("arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}")
        return f"{ecr}:repository/{name}"


def resolve(*, region="us-east-1", partition="aws", **parameters):
    """Return the properties of the resources that a stack has, by their names in the template."""
    return _Stack(region=region, partition=partition, **parameters).resources()


def policy_after_stack(settings):
    """The policy that init needs after a stack: without the statements for what the stack has."""
    document = policy_document(PolicyScope(settings, "us-east-1", ACCOUNT), [Purpose.INIT])
    left_out = ("Create", "TagNewSecurityGroup")
    kept = [one for one in document["Statement"] if not one["Sid"].startswith(left_out)]
    return {**document, "Statement": kept}


def tags_of(properties):
    """Tags of a resource of a stack."""
    return {one["Key"]: one["Value"] for one in properties["Tags"]} | STACK_TAGS


def create_stack(emulator, **parameters):
    """Create the resources of a stack in an emulated account, as CloudFormation does."""
    vpc = client(emulator, "ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    made = resolve(VpcId=vpc, **parameters)
    if cluster := made.get("Cluster"):
        client(emulator, "ecs").create_cluster(
            clusterName=cluster["ClusterName"],
            capacityProviders=cluster["CapacityProviders"],
            settings=[
                {"name": one["Name"], "value": one["Value"]} for one in cluster["ClusterSettings"]
            ],
            tags=[{"key": key, "value": text} for key, text in tags_of(cluster).items()],
        )
    if group := made.get("LogGroup"):
        logs, name = client(emulator, "logs"), group["LogGroupName"]
        logs.create_log_group(logGroupName=name, tags=tags_of(group))
        logs.put_retention_policy(logGroupName=name, retentionInDays=group["RetentionInDays"])
    if repository := made.get("Repository"):
        ecr, name = client(emulator, "ecr"), repository["RepositoryName"]
        scanning = repository["ImageScanningConfiguration"]["ScanOnPush"]
        ecr.create_repository(
            repositoryName=name,
            imageScanningConfiguration={"scanOnPush": scanning},
            tags=_capitalised(repository),
        )
        text = repository["LifecyclePolicy"]["LifecyclePolicyText"]
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=text)
    _create_role(client(emulator, "iam"), made["ExecutionRole"])
    if group := made.get("SecurityGroup"):
        _create_security_group(client(emulator, "ec2"), group)


def _create_role(iam, role):
    iam.create_role(
        RoleName=role["RoleName"],
        AssumeRolePolicyDocument=json.dumps(role["AssumeRolePolicyDocument"]),
        PermissionsBoundary=role["PermissionsBoundary"],
        Tags=_capitalised(role),
    )
    for policy in role["Policies"]:
        iam.put_role_policy(
            RoleName=role["RoleName"],
            PolicyName=policy["PolicyName"],
            PolicyDocument=json.dumps(policy["PolicyDocument"]),
        )


def _create_security_group(ec2, group):
    made = ec2.create_security_group(
        GroupName=group["GroupName"],
        Description=group["GroupDescription"],
        VpcId=group["VpcId"],
        TagSpecifications=[{"ResourceType": "security-group", "Tags": _capitalised(group)}],
    )
    for rule in group["SecurityGroupIngress"]:
        ec2.authorize_security_group_ingress(GroupId=made["GroupId"], **rule)


def _capitalised(properties):
    return [{"Key": key, "Value": text} for key, text in tags_of(properties).items()]
