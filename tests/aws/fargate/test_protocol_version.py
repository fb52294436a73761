"""A run stops before its first task if the tasks speak another version of the protocol."""

from __future__ import annotations

import pytest

from cloudburst.aws.fargate.task_definition import parse_task_definition
from cloudburst.errors import ConfigurationError
from cloudburst.models.task import PROTOCOL_VERSION
from support.fargate_backend import account, backend_of, count

pytestmark = pytest.mark.anyio

NATIVE = {"cloudburst.protocol": "native"}


def parsed(labels):
    container = {"name": "cloudburst-processor", "dockerLabels": labels}
    arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/film:3"
    described = {"taskDefinitionArn": arn, "containerDefinitions": [container]}
    return parse_task_definition(described, protocol=None)


@pytest.mark.parametrize(
    ("labels", "protocol_version", "version"),
    [
        (NATIVE, "unknown", ""),
        ({**NATIVE, "cloudburst.protocol-version": "7", "cloudburst.version": "2.1"}, "7", "2.1"),
        ({"cloudburst.protocol-version": "7"}, None, ""),
        ({}, None, ""),
    ],
)
def test_a_definition_says_which_version_its_tasks_speak(labels, protocol_version, version):
    found = parsed(labels)
    assert (found.protocol_version, found.version) == (protocol_version, version)


async def test_a_run_with_tasks_of_another_version_is_told_before_anything_starts():
    with account() as emulator:
        labels = {**NATIVE, "cloudburst.version": "9.0"}
        labels["cloudburst.protocol-version"] = str(PROTOCOL_VERSION + 1)
        emulator.register(family="newer", container={"dockerLabels": labels})
        spoken = f"version {PROTOCOL_VERSION}: run cloudburst init"
        expected = rf"newer:1 speak version {PROTOCOL_VERSION + 1} .*\(cloudburst 9\.0\).* {spoken}"
        with pytest.raises(ConfigurationError, match=expected):
            async with backend_of(emulator, task_definition="newer"):
                pass
        assert count(emulator, "DescribeTasks") == 0
        emulator.register(family="older", container={"dockerLabels": NATIVE})
        with pytest.raises(
            ConfigurationError,
            match=rf"older:1 speak version unknown .* version {PROTOCOL_VERSION}",
        ):
            async with backend_of(emulator, task_definition="older"):
                pass
        emulator.register(family="equal")
        async with backend_of(emulator, task_definition="equal"):
            pass
