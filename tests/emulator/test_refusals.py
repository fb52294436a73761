"""What AWS refuses, the emulator refuses, with the same exception."""

from __future__ import annotations

import time

import pytest

from support.emulator_calls import (
    CLUSTER,
    DEFINITION,
    MAIN,
    client,
    network,
    new_client,
    overriding,
    reach,
    refused,
    request,
    run,
    seen,
    spot,
    stop,
)

BOTH = {"capacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}]}


@pytest.fixture(scope="module")
def shared():
    """An emulator in which nothing is ever started."""
    from cloudburst.testing import EmulatorConfig, FargateEmulator
    from support.emulator_calls import QUICK

    with FargateEmulator(EmulatorConfig.quick(**QUICK)) as emulator:
        yield emulator
        assert emulator.tasks == ()


@pytest.fixture(scope="module")
def ecs(shared):
    """A client that waits when AWS's twenty calls of RunTask a second are used up."""
    return new_client(shared, "ecs", attempts=5)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cluster": "other"}, "ClusterNotFoundException"),
        ({"taskDefinition": "other"}, "ClientException"),
        ({"taskDefinition": f"{DEFINITION}:7"}, "ClientException"),
        ({"count": 11}, "InvalidParameterException"),
        ({"count": 0}, "InvalidParameterException"),
        (BOTH, "InvalidParameterException"),
        ({"launchType": "EC2"}, "InvalidParameterException"),
        ({"launchType": None}, "InvalidParameterException"),
        ({"networkConfiguration": None}, "InvalidParameterException"),
        ({"overrides": overriding("nobody")}, "InvalidParameterException"),
        ({"overrides": overriding(environment={"A": "x" * 8192})}, "InvalidParameterException"),
        ({"overrides": {"cpu": "1024", "memory": "1024"}}, "ClientException"),
        ({"overrides": {"cpu": "3072", "memory": "8192"}}, "ClientException"),
        ({"overrides": {"cpu": "16384", "memory": "36864"}}, "ClientException"),
        ({"overrides": {"ephemeralStorage": {"sizeInGiB": 20}}}, "InvalidParameterException"),
        ({"overrides": {"ephemeralStorage": {"sizeInGiB": 201}}}, "InvalidParameterException"),
        ({"tags": [{"key": "Scene", "value": "a|b"}]}, "InvalidParameterException"),
        ({"tags": [{"key": "aws:scene", "value": "a"}]}, "InvalidParameterException"),
        (
            {"tags": [{"key": f"k{n}", "value": "a"} for n in range(51)]},
            "InvalidParameterException",
        ),
    ],
)
def test_run_task(shared, ecs, change, code):
    with refused(code):
        ecs.run_task(**request(shared, **change))


@pytest.mark.parametrize(
    "change", [{"subnets": ["subnet-0123"]}, {"securityGroups": ["sg-0123"]}, {"subnets": []}]
)
def test_run_task_in_a_network_that_is_not_there(shared, ecs, change):
    with refused("InvalidParameterException"):
        ecs.run_task(**request(shared, networkConfiguration=network(shared, **change)))


def test_run_task_with_a_provider_that_is_not_attached(shared, ecs):
    ecs.create_cluster(clusterName="bare")
    with refused("InvalidParameterException"):
        ecs.run_task(**request(shared, cluster="bare", **spot()))
    ecs.put_cluster_capacity_providers(
        cluster="bare", capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
    )
    with refused("InvalidParameterException"):
        ecs.run_task(**request(shared, cluster="bare", **spot()))


def test_overrides_fit_to_the_last_character(emulator):
    import json

    rest = 8192 - len(json.dumps(overriding(environment={"A": ""}), separators=(",", ":")))
    [task] = run(emulator, overrides=overriding(environment={"A": "x" * rest}))
    assert len(task.environment["A"]) == rest
    with refused("InvalidParameterException"):
        run(emulator, overrides=overriding(environment={"A": "x" * (rest + 1)}))


@pytest.mark.parametrize(
    ("cpu", "memory"),
    [
        ("256", "512"),
        ("512", "4096"),
        ("1024", "2048"),
        ("2048", "16384"),
        ("4096", "30720"),
        ("8192", "61440"),
        ("16384", "122880"),
        ("1 vCPU", "3 GB"),
    ],
)
def test_sizes_that_fargate_has(emulate, cpu, memory):
    emulator = emulate(provisioning=30)
    [task] = run(emulator, overrides={"cpu": cpu, "memory": memory})
    assert task.vcpu * 1024 >= 256
    seen(emulator, task)
    shown = client(emulator, "ecs").describe_tasks(cluster=CLUSTER, tasks=[task.id])["tasks"][0]
    assert shown["cpu"] == str(int(task.vcpu * 1024))
    assert shown["memory"] == str(task.memory_mb)


def definition(**changes):
    wanted = {
        "family": "mine",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
        "containerDefinitions": [{"name": "one", "image": "busybox"}],
        **changes,
    }
    return {name: value for name, value in wanted.items() if value is not None}


LOGGED = {"logDriver": "awslogs", "options": {"awslogs-group": "/mine"}}


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "1024", "memory": "512"},
        {"cpu": None},
        {"memory": None},
        {"networkMode": "bridge"},
        {"containerDefinitions": []},
        {"containerDefinitions": [{"name": "one", "image": "b", "stopTimeout": 121}]},
        {"containerDefinitions": [{"name": "one", "image": "b", "logConfiguration": LOGGED}]},
    ],
)
def test_register_task_definition(shared, change):
    with refused("ClientException"):
        client(shared, "ecs").register_task_definition(**definition(**change))


def test_task_definitions_have_revisions(shared, ecs):
    arns = [
        ecs.register_task_definition(**definition(family="counted"))["taskDefinition"][
            "taskDefinitionArn"
        ]
        for _ in range(3)
    ]
    listed = ecs.list_task_definitions(familyPrefix="counted")["taskDefinitionArns"]
    assert listed == arns
    ecs.deregister_task_definition(taskDefinition=arns[2])
    shown = ecs.describe_task_definition(taskDefinition="counted")["taskDefinition"]
    assert shown["revision"] == 2
    with refused("ClientException"):
        ecs.run_task(**request(shared, taskDefinition="counted:3"))
    with refused("ClientException"):
        ecs.deregister_task_definition(taskDefinition="counted")


@pytest.mark.parametrize(
    ("operation", "asked", "code"),
    [
        ("describe_tasks", {"tasks": []}, "InvalidParameterException"),
        ("describe_tasks", {"tasks": ["x"] * 101}, "InvalidParameterException"),
        ("list_tasks", {"startedBy": "me", "family": DEFINITION}, "InvalidParameterException"),
        ("list_tasks", {"cluster": "other"}, "ClusterNotFoundException"),
        ("stop_task", {"task": "0" * 32}, "InvalidParameterException"),
        ("delete_cluster", {"cluster": "other"}, "ClusterNotFoundException"),
        ("list_tags_for_resource", {"resourceArn": "arn:aws:x"}, "InvalidParameterException"),
    ],
)
def test_other_operations(shared, operation, asked, code):
    if "arn" not in str(asked):
        asked = {"cluster": CLUSTER, **asked}
    with refused(code):
        getattr(client(shared, "ecs"), operation)(**asked)


def test_a_cluster_with_tasks_is_not_deleted(emulator):
    [task] = run(emulator)
    ecs = client(emulator, "ecs")
    with refused("ClusterContainsTasksException"):
        ecs.delete_cluster(cluster=CLUSTER)
    stop(emulator, task)
    reach(emulator, task, "STOPPED")
    assert ecs.delete_cluster(cluster=CLUSTER)["cluster"]["status"] == "INACTIVE"
    assert ecs.describe_clusters(clusters=[CLUSTER])["clusters"][0]["status"] == "INACTIVE"


def test_pages_of_a_hundred(emulate):
    emulator = emulate(provisioning=30)
    ecs = client(emulator, "ecs")
    for number in range(13):
        time.sleep(0.55 if number > 8 else 0)  # a hundred launches at once, then 20 a second
        ecs.run_task(**request(emulator, count=10, startedBy="me"))
        assert len(emulator.tasks) == 10 * (number + 1)
    seen(emulator, run(emulator, startedBy="somebody")[0])
    pages = list(ecs.get_paginator("list_tasks").paginate(cluster=CLUSTER, startedBy="me"))
    assert [len(page["taskArns"]) for page in pages] == [100, 30]
    assert len({arn for page in pages for arn in page["taskArns"]}) == 130
    first = ecs.list_tasks(cluster=CLUSTER, maxResults=50)
    for arn in first["taskArns"]:
        ecs.stop_task(cluster=CLUSTER, task=arn)
    rest = ecs.list_tasks(cluster=CLUSTER, nextToken=first["nextToken"])["taskArns"]
    assert len(rest) == 81, "what is stopped meanwhile moves nobody off a page"
    assert not set(rest) & set(first["taskArns"])
    time.sleep(emulator.config.disagreement + 0.01)
    assert len(ecs.list_tasks(cluster=CLUSTER, desiredStatus="STOPPED")["taskArns"]) == 50


def test_without_room_there_are_failures(emulate):
    emulator = emulate(max_running=2)
    answer = client(emulator, "ecs").run_task(**request(emulator, count=3))
    assert len(answer["tasks"]) == 2
    assert answer["failures"][0]["reason"].startswith("Capacity is unavailable")
    assert emulator.max_live == 2


def test_quotas_count_vcpus_on_demand_and_spot_apart(emulate):
    emulator = emulate(vcpu_quota=6.0, spot_vcpu_quota=2.0, provisioning=30)
    ecs = client(emulator, "ecs")
    answer = ecs.run_task(**request(emulator, count=4))
    assert len(answer["tasks"]) == 3, "of 2 vCPU each"
    assert "limit on the number of vCPUs" in answer["failures"][0]["reason"]
    assert len(ecs.run_task(**request(emulator, count=2, **spot()))["tasks"]) == 1
    quotas = client(emulator, "service-quotas")
    for code, value in {"L-3032A538": 6.0, "L-36FBB829": 2.0}.items():
        quota = quotas.get_service_quota(ServiceCode="fargate", QuotaCode=code)["Quota"]
        assert quota["Value"] == value


def test_a_strategy_of_several_providers_is_refused(emulator):
    strategy = [{"capacityProvider": name, "weight": 1} for name in ("FARGATE", "FARGATE_SPOT")]
    with refused("InvalidParameterException"):
        run(emulator, launchType=None, capacityProviderStrategy=strategy)


class TestToken:
    """One token is one request."""

    def test_the_same_request_again_names_the_same_task(self, emulator):
        tasks = [run(emulator, clientToken="t")[0] for _ in range(3)]
        assert {task.number for task in tasks} == {0}
        assert len(emulator.tasks) == 1

    def test_another_request_is_a_conflict(self, emulator):
        [task] = run(emulator, clientToken="t")
        ecs = client(emulator, "ecs")
        with pytest.raises(ecs.exceptions.ConflictException) as caught:
            ecs.run_task(**request(emulator, clientToken="t", startedBy="somebody"))
        assert caught.value.response["resourceIds"] == [task.arn]

    def test_a_refusal_uses_no_token_up(self, emulate):
        emulator = emulate(max_running=1)
        [task] = run(emulator)
        answer = client(emulator, "ecs").run_task(**request(emulator, clientToken="t"))
        assert answer["failures"]
        stop(emulator, task)
        reach(emulator, task, "STOPPED")
        assert run(emulator, clientToken="t")[0].number == 1

    def test_a_stopped_task_is_still_its_answer(self, emulator):
        [task] = run(emulator, clientToken="t")
        stop(emulator, task)
        reach(emulator, task, "STOPPED")
        time.sleep(0.05)
        assert run(emulator, clientToken="t")[0].last_status == "STOPPED"


def test_tags_of_tasks_clusters_and_definitions(emulator):
    ecs = client(emulator, "ecs")
    [task] = run(emulator, tags=[{"key": "a", "value": "1"}])
    assert task.tags == {"a": "1"}
    described = ecs.describe_task_definition(taskDefinition=DEFINITION, include=["TAGS"])
    cluster_arn = ecs.describe_clusters(clusters=[CLUSTER])["clusters"][0]["clusterArn"]
    for arn in (task.arn, described["taskDefinition"]["taskDefinitionArn"], cluster_arn):
        tags = ecs.list_tags_for_resource(resourceArn=arn)["tags"]
        assert ("a" in {tag["key"] for tag in tags}) is (arn == task.arn)
    assert {"key": "CreatedBy", "value": "animagent"} in described["tags"]
    assert MAIN in str(described["taskDefinition"]["containerDefinitions"])
