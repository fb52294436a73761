"""What the tests of the emulator share: clients of AWS, and patience."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

CLUSTER, DEFINITION = "cloudburst-cluster", "cloudburst-task"
MAIN, WATCHDOG = "cloudburst-processor", "cloudburst-watchdog"
QUICK = {"moto": False}
"""What tests of the emulator want besides short times."""
SESSION = botocore.session.Session()


CLIENTS = {}


def client(emulator, service, **differently):
    """A client; to make one takes a while, so the plain ones are kept."""
    known = (emulator.environment["AWS_ACCESS_KEY_ID"], service)
    if differently or known not in CLIENTS:
        made = new_client(emulator, service, **differently)
        if differently:
            return made
        CLIENTS[known] = made
    return CLIENTS[known]


def new_client(emulator, service, *, attempts=1, **credentials):
    environment = emulator.environment
    return SESSION.create_client(
        service,
        region_name=environment["AWS_REGION"],
        endpoint_url=emulator.url,
        aws_access_key_id=credentials.get("key", environment["AWS_ACCESS_KEY_ID"]),
        aws_secret_access_key=credentials.get("secret", environment["AWS_SECRET_ACCESS_KEY"]),
        aws_session_token=credentials.get("token"),
        config=Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=5,
            read_timeout=15,
            proxies={},
            signature_version="s3v4" if service == "s3" else None,  # presigned URLs too
            s3={"addressing_style": "path"},
        ),
    )


def network(emulator, **more):
    environment = emulator.environment
    return {
        "awsvpcConfiguration": {
            "subnets": environment["AWS_SUBNET_ID"].split(","),
            "securityGroups": [environment["AWS_SECURITY_GROUP_ID"]],
            "assignPublicIp": "ENABLED",
            **more,
        }
    }


def request(emulator, **more):
    """Parameters of a RunTask; what is ``None`` is left out."""
    wanted = {
        "cluster": CLUSTER,
        "taskDefinition": DEFINITION,
        "launchType": "FARGATE",
        "networkConfiguration": network(emulator),
        **more,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def run(emulator, **more):
    """The tasks that a RunTask started, as the emulator sees them."""
    answer = client(emulator, "ecs").run_task(**request(emulator, **more))
    assert not answer["failures"], answer["failures"]
    arns = [task["taskArn"] for task in answer["tasks"]]
    return [task for task in emulator.tasks if task.arn in arns]


def spot():
    return {
        "launchType": None,
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
    }


def overriding(name=MAIN, **more):
    environment = [{"name": k, "value": v} for k, v in more.pop("environment", {}).items()]
    return {"containerOverrides": [{"name": name, "environment": environment, **more}]}


def until(condition, *, seconds=30.0, interval=0.005):
    """Wait for something to be there; returns it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(interval)
    return value


def lasts(measured, seconds):
    """Whether something took so long; on a busy machine it may take longer."""
    return seconds - 0.1 <= measured < seconds + 3


def now(emulator, task):
    return emulator.tasks[task.number]


def seen(emulator, task):
    """Wait until ECS knows a task in all of its calls."""
    config = emulator.config
    known = task.created + config.new_task_invisible + config.disagreement
    time.sleep(max(0, known + 0.02 - time.time()))
    return task


def stop(emulator, task, **more):
    """Stop a task, which ECS must know for that."""
    seen(emulator, task)
    client(emulator, "ecs").stop_task(cluster=CLUSTER, task=task.arn, **more)


def reach(emulator, task, status):
    """Wait for a state of a task; returns the task as it is then."""
    until(lambda: now(emulator, task).last_status in {status, "STOPPED"})
    task = now(emulator, task)
    assert task.last_status == status, task
    return task


def ask(task, path="/health", *, key="", body=None, timeout=20.0):
    """Status and content that a worker answers with; waits until it listens."""
    asked = urllib.request.Request(
        f"http://{task.address}:5000{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Authentication-Key": key, "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + timeout
    while True:
        try:
            with opener.open(asked, timeout=timeout) as got:
                return got.status, got.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except urllib.error.URLError as error:
            refused = isinstance(error.reason, ConnectionRefusedError)
            if not refused or time.monotonic() > end:
                raise
            time.sleep(0.005)


def logged(emulator, group="/ecs/cloudburst"):
    """The lines of all containers, of one container after the other."""
    logs, lines = client(emulator, "logs"), []
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
    for stream in (one["logStreamName"] for page in pages for one in page["logStreams"]):
        token = {}
        while True:
            page = logs.get_log_events(
                logGroupName=group, logStreamName=stream, startFromHead=True, **token
            )
            lines += [event["message"] for event in page["events"]]
            if token == (token := {"nextToken": page["nextForwardToken"]}):
                break
    return lines


def refused(code):
    """The context in which AWS must refuse with this code."""
    return pytest.raises(ClientError, match=rf"\({code}\)")
