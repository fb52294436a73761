"""Commands with the policy that is printed for them, without one of its actions.

Either the command does not need the action here, or what it prints names the action.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path

import anyio
import boto3
import pytest
from PIL import Image

from cloudburst import Settings
from cloudburst.aws.setup import changes, init_account, logs, running_tasks
from cloudburst.aws.setup.permissions import PolicyScope, Purpose, policy_document
from cloudburst.cli.app import run
from cloudburst.models.locations import parse_s3_prefix
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.service_inputs import tone
from support.setup_accounts import bare, change_by_hand, client, set_up, wipe
from support.short_waits import repeat_quickly, shorten_waits

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

BUCKET = "films"
FOLDERS = [parse_s3_prefix(f"s3://{BUCKET}/{name}/") for name in ("in", "out")]
HERE = "127.0.0.1"
PUBLIC = Settings(_env_file=None, DOCKER_IMAGE="public")
REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
COMMANDS = {
    "init --dry-run": ((Purpose.INIT,), ()),
    "init": ((Purpose.INIT,), ()),
    "init again": ((Purpose.INIT,), ()),
    "init --s3": ((Purpose.INIT,), FOLDERS),
    "doctor": ((Purpose.DOCTOR, Purpose.RUN), ()),
    "render": ((Purpose.RUN,), ()),
    "render s3": ((Purpose.RUN,), FOLDERS),
    "tasks": ((Purpose.RUN,), ()),
    "logs": ((Purpose.RUN,), ()),
    "cleanup": ((Purpose.RUN,), ()),
    "destroy": ((Purpose.DESTROY,), ()),
}
"""Purposes of the policy that is printed for each command, and the folders in S3 that it names."""
FEW = [("render", "ecs:RunTask"), ("render", "iam:PassRole"), ("render s3", "s3:PutObject")]
"""Cases without `init`, for which moto would have to start."""


def document_for(command):
    purposes, folders = COMMANDS[command]
    return policy_document(PolicyScope(PUBLIC, "us-east-1", "123456789012", s3=folders), purposes)


def all_cases():
    for command in COMMANDS:
        actions = {a for one in document_for(command)["Statement"] for a in one["Action"]}
        yield from ((command, action) for action in sorted(actions))
        yield command, ""


@pytest.fixture(scope="module")
def account():
    with bare(moto=True, vcpu_quota=100.0, spot_vcpu_quota=100.0) as emulator:
        emulator.state = None
        client(emulator, "s3").create_bucket(Bucket=BUCKET)
        yield emulator


@pytest.fixture(scope="module")
def rendering_account():
    """An account with our service, which renders from S3 to S3."""
    worker = (sys.executable, "-m", "cloudburst.service")
    config = EmulatorConfig.quick(moto=False, worker=worker, protocol="native", tag_lag=0.0)
    with FargateEmulator(config) as emulator:
        emulator.state = {**emulator.environment}
        client(emulator, "s3").create_bucket(Bucket=BUCKET)
        yield emulator


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    shorten_waits(monkeypatch)
    repeat_quickly(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "COLUMNS": "200",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 0.0)
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 0.1)
    monkeypatch.setattr(logs, "LOG_DELAY", 0.5)
    monkeypatch.setattr(changes, "SETTLE_TIMEOUT", 4.0)


def prepared(emulator, command):
    """Bring the account into the state for a command, and return the settings of an init."""
    if command.startswith("init"):
        wipe(emulator)
        emulator.state = None
    if command == "init --dry-run" or command in {"init", "init --s3"}:
        return {"DOCKER_IMAGE": "public"}
    if emulator.state is None:
        report, settings = anyio.run(partial(set_up, emulator, sources=(f"{HERE}/32",)))
        emulator.state = {"DOCKER_IMAGE": "public", **report.environment}
        if command == "init again":
            change_by_hand(emulator, settings)
    if command == "destroy":
        state, emulator.state = emulator.state, None
        time.sleep(emulator.config.tag_lag)
        return state
    return emulator.state


def arguments(emulator, command):
    """The words of a command line, for which everything is there that it works on."""
    name = command.partition(" ")[0]
    init = ["init", "--image", "public", "--from", HERE]
    if name in {"tasks", "logs", "cleanup"}:
        task = launch(emulator)
        return {"logs": ["logs", task], "cleanup": ["cleanup", "--all"]}.get(name, [name])
    if name == "render":
        return [name, *write_scenes(emulator, command), "--backend", "fargate", "--workers", "1"]
    return {
        "destroy": ["init", "--destroy"],
        "doctor": ["doctor", "--workers", "1", "--from", HERE],
        "init --dry-run": [*init, "--dry-run"],
        "init --s3": [*init, "--s3", f"{BUCKET}/out"],
    }.get(command, init)


def write_scenes(emulator, command):
    """Write a scene, and return the words of ``render`` that say where it and its video are."""
    folder = Path("scenes")
    folder.mkdir()
    Image.new("RGB", (320, 180), "teal").save(folder / "scene.png")
    tone(folder / "scene.wav", 0.3)
    if command == "render":
        return [str(folder), "--to", "videos"]
    s3 = client(emulator, "s3")
    for path in folder.iterdir():
        s3.put_object(Bucket=BUCKET, Key=f"in/{path.name}", Body=path.read_bytes())
    for found in s3.list_objects_v2(Bucket=BUCKET, Prefix="out/").get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=found["Key"])
    to = f"s3://{BUCKET}/out/"
    return [f"s3://{BUCKET}/in/", "--to", to, "--film", f"{to}film.mp4"]


def launch(emulator):
    """Start a task of cloudburst, and wait until it runs."""
    network = {
        "subnets": emulator.state["AWS_SUBNET_ID"].split(","),
        "securityGroups": [emulator.state["AWS_SECURITY_GROUP_ID"]],
        "assignPublicIp": "ENABLED",
    }
    answer = client(emulator, "ecs").run_task(
        cluster=emulator.state["ECS_CLUSTER_NAME"],
        taskDefinition=emulator.state["ECS_TASK_DEFINITION"],
        networkConfiguration={"awsvpcConfiguration": network},
        launchType="FARGATE",
        tags=[{"key": "CreatedBy", "value": "animagent"}],
    )
    ident = answer["tasks"][0]["taskArn"].rpartition("/")[2]
    while not any(task.id == ident and task.started for task in emulator.tasks):
        time.sleep(0.05)
    time.sleep(emulator.config.tag_lag)
    return ident


@pytest.mark.few(len(FEW))
@pytest.mark.parametrize(
    ("command", "action"), [*FEW, *(case for case in all_cases() if case not in FEW)]
)
def test_a_missing_permission_is_named(request, monkeypatch, capfd, command, action):
    name = "rendering_account" if command.startswith("render") else "account"
    emulator = request.getfixturevalue(name)
    settings = prepared(emulator, command)
    words = arguments(emulator, command)
    document = document_for(command)
    for statement in document["Statement"]:
        statement["Action"] = [one for one in statement["Action"] if one != action]
    key = emulator.new_key(policies=[json.loads(json.dumps(document))])
    for variable, value in {**emulator.environment, **settings, **key}.items():
        monkeypatch.setenv(variable, value)
    since = len(emulator.calls)
    code = run(words)
    printed = "".join(capfd.readouterr())
    mine = [call for call in emulator.calls[since:] if call.key == key["AWS_ACCESS_KEY_ID"]]
    refused = sorted({call.action for call in mine if call.note in REFUSED})
    for task in emulator.live:
        client(emulator, "ecs").stop_task(cluster=task.cluster, task=task.arn)
    named = action in " ".join(printed.split())
    # doctor asks IAM's simulator about the actions of a run, so that nothing is refused.
    found = named and (refused or command == "doctor")
    assert code == 0 or (action and found), (code, refused, printed)
