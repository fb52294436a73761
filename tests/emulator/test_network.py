"""Where tasks can be: zones, ways out to registries, and images for their processor."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from cloudburst.emulator.capacity import has_fargate, zone_ids
from cloudburst.emulator.ec2 import subnet_id
from support.emulator_calls import (
    CLUSTER,
    MAIN,
    client,
    network,
    reach,
    refused,
    request,
    run,
    seen,
    stop,
    until,
)

PRIVATE = {"assignPublicIp": "DISABLED"}
ARM = {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"


def define(emulator, *images, **more):
    """Register a family ``mine`` with a container for each image."""
    client(emulator, "ecs").register_task_definition(
        family="mine",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[
            {
                "name": f"c{number}",
                "image": image,
                "portMappings": [{"containerPort": 5000 + number}],
            }
            for number, image in enumerate(images)
        ],
        **more,
    )


def ended(emulator, **where):
    """How a task of that family ended, or that it runs."""
    [task] = run(emulator, taskDefinition="mine", networkConfiguration=network(emulator, **where))
    until(lambda: emulator.tasks[task.number].last_status in {"RUNNING", "STOPPED"})
    task = emulator.tasks[task.number]
    return task.stopped_reason or task.last_status


class TestZones:
    """Zones in which Fargate has no machines."""

    @pytest.mark.parametrize(
        ("region", "zone", "x86", "arm"),
        [
            ("us-east-1", "use1-az1", True, True),
            ("us-east-1", "use1-az3", True, False),
            ("us-west-1", "usw1-az2", False, False),
            ("ap-northeast-1", "apne1-az3", False, False),
            ("eu-central-1", "euc1-az3", True, True),
        ],
    )
    def test_as_aws_lists_them(self, region, zone, x86, arm):
        assert has_fargate(region, zone, "X86_64") is x86
        assert has_fargate(region, zone, "ARM64") is arm

    def test_subnets_say_their_zones_id(self, emulator):
        subnets = client(emulator, "ec2").describe_subnets()["Subnets"]
        ids = {one["AvailabilityZone"][-1]: one["AvailabilityZoneId"] for one in subnets}
        assert ids == zone_ids("us-east-1")
        assert zone_ids("eu-west-2") == {"a": "euw2-az1", "b": "euw2-az2", "c": "euw2-az3"}

    def test_a_task_in_one_is_answered_with_a_failure(self, emulate):
        emulator = emulate(zones_without_fargate={"use1-az1"})
        ecs = client(emulator, "ecs")
        for zone, started in (("a", 1), ("b", 0), ("c", 1)):
            where = network(emulator, subnets=[subnet_id(zone)])
            answer = ecs.run_task(**request(emulator, networkConfiguration=where))
            assert len(answer["tasks"]) == started
            assert [one["reason"] for one in answer["failures"]] == ["Internal error."] * (
                1 - started
            )

    def test_a_task_is_in_any_of_the_subnets_by_the_seed(self, emulate):
        def zones(seed):
            emulator = emulate(seed=seed, pending=600)
            for _ in range(12):
                run(emulator)
            seen(emulator, emulator.tasks[-1])
            tasks = [task.arn for task in emulator.tasks]
            found = client(emulator, "ecs").describe_tasks(cluster=CLUSTER, tasks=tasks)["tasks"]
            subnets = {subnet_id(zone): f"us-east-1{zone}" for zone in "abc"}
            for task in found:
                [subnet] = [
                    detail["value"]
                    for detail in task["attachments"][0]["details"]
                    if detail["name"] == "subnetId"
                ]
                assert subnets[subnet] == task["availabilityZone"]
            return [task["availabilityZone"][-1] for task in found]

        chosen = zones(7)
        assert set(chosen) == set("abc")
        assert zones(7) == chosen != zones(8)

    def test_arm64_is_not_in_every_zone(self, emulate):
        emulator = emulate(architecture="ARM64", protocol="native")
        where = network(emulator, subnets=[subnet_id("e")])
        answer = client(emulator, "ecs").run_task(**request(emulator, networkConfiguration=where))
        assert answer["failures"][0]["reason"] == "Internal error."


class TestImages:
    """What a task needs to pull its images."""

    def test_an_image_for_another_processor_is_not_pulled(self, emulator):
        define(emulator, "betashow/video-generation-api:latest", runtimePlatform=ARM)
        assert ended(emulator) == (
            "CannotPullContainerError: pull image manifest has been retried 7 time(s): image "
            "Manifest does not contain descriptor matching platform 'linux/arm64'"
        )
        define(emulator, "busybox", runtimePlatform=ARM)
        assert ended(emulator) == "RUNNING"

    def test_an_account_may_say_what_its_images_are_for(self, emulate):
        emulator = emulate(image_platforms={"*/mine*": ("ARM64",)})
        define(emulator, "busybox", ECR)
        assert "matching platform 'linux/amd64'" in ended(emulator), "of any container"

    @pytest.mark.parametrize(
        ("way", "public", "reached"),
        [
            ("internet gateway", True, {"hub", "ecr"}),
            ("internet gateway", False, set()),
            ("nat", False, {"hub", "ecr"}),
            ("none", True, set()),
        ],
    )
    def test_registries_are_reached_by_the_ways_of_the_subnet(self, emulate, way, public, reached):
        emulator = emulate(way_out=way)
        where = {} if public else PRIVATE
        for name, image in (("hub", "public.ecr.aws/docker/library/busybox"), ("ecr", ECR)):
            define(emulator, image)
            assert (ended(emulator, **where) == "RUNNING") is (name in reached)

    def test_reasons_name_what_was_not_reached(self, emulate):
        emulator = emulate(way_out="none")
        define(emulator, "docker.io/library/busybox")
        assert 'Head "https://docker.io/v2/": dial tcp: i/o timeout' in ended(emulator)
        define(emulator, ECR.replace("us-east-1", "eu-west-1"))
        assert ended(emulator).startswith("CannotPullContainerError")
        define(emulator, ECR)
        assert "https://api.ecr.us-east-1.amazonaws.com/" in ended(emulator)

    def test_routes_say_the_same(self, emulate):
        ways = {}
        for way in ("internet gateway", "nat", "none"):
            ec2 = client(emulate(way_out=way), "ec2")
            [table] = ec2.describe_route_tables()["RouteTables"]
            ways[way] = [
                route.get("GatewayId", route.get("NatGatewayId")).partition("-")[0]
                for route in table["Routes"]
            ]
            assert ec2.describe_vpc_endpoints()["VpcEndpoints"] == []
        assert ways == {
            "internet gateway": ["local", "igw"],
            "nat": ["local", "nat"],
            "none": ["local"],
        }

    def test_lines_need_a_way_to_cloudwatch(self, emulator):
        images = emulator.register(container={"image": ECR}, watchdog=False)
        assert images
        [task] = run(emulator, networkConfiguration=network(emulator, **PRIVATE))
        until(lambda: emulator.tasks[task.number].stopped)
        assert "ResourceInitializationError" in emulator.tasks[task.number].stopped_reason
        assert MAIN


class TestInterfaces:
    """A network interface outlives its task for a moment."""

    def test_is_there_for_a_moment_without_its_public_address(self, emulate):
        emulator = emulate(interface_lingers=1.0)
        [task] = run(emulator)
        task = reach(emulator, task, "RUNNING")
        stop(emulator, task)
        reach(emulator, task, "STOPPED")
        ec2 = client(emulator, "ec2")
        asked = {"NetworkInterfaceIds": [task.interface]}
        [left] = ec2.describe_network_interfaces(**asked)["NetworkInterfaces"]
        assert (left["Status"], "Association" in left) == ("available", False)
        time.sleep(1.0)
        with pytest.raises(ClientError, match="InvalidNetworkInterfaceID"):
            ec2.describe_network_interfaces(**asked)

    @pytest.mark.real
    @pytest.mark.timeout(60)
    def test_holds_its_security_group_and_its_subnet(self, with_moto):
        ec2 = client(with_moto, "ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
        where = network(with_moto, securityGroups=[group], subnets=[subnet_id("a")])
        [task] = run(with_moto, networkConfiguration=where)
        task = reach(with_moto, task, "RUNNING")
        stop(with_moto, task)
        reach(with_moto, task, "STOPPED")
        with refused("DependencyViolation"):
            ec2.delete_security_group(GroupId=group)
        with refused("DependencyViolation"):
            ec2.delete_subnet(SubnetId=subnet_id("a"))
        time.sleep(1.0)
        ec2.delete_security_group(GroupId=group)

    @pytest.mark.real
    @pytest.mark.timeout(60)
    def test_routes_that_a_caller_makes_count(self, with_moto):
        ec2 = client(with_moto, "ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(
            VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone="us-east-1b"
        )["Subnet"]
        assert subnet["AvailabilityZoneId"] == zone_ids("us-east-1")["b"]
        group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
        where = {"subnets": [subnet["SubnetId"]], "securityGroups": [group], **PRIVATE}
        define(with_moto, ECR)
        assert "api.ecr.us-east-1" in ended(with_moto, **where)
        define(with_moto, "docker.io/library/busybox")
        assert "i/o timeout" in ended(with_moto, **where)
        [table] = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])[
            "RouteTables"
        ]
        nat = ec2.create_nat_gateway(SubnetId=subnet["SubnetId"])["NatGateway"]["NatGatewayId"]
        ec2.create_route(
            RouteTableId=table["RouteTableId"],
            NatGatewayId=nat,
            DestinationCidrBlock="0.0.0.0/0",
        )
        assert ended(with_moto, **where) == "RUNNING"
