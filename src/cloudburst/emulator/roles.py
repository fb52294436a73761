"""IAM roles of tasks, and the delay until a new role can be used everywhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError, client_error

ROLE_MEMBERS = ("executionRoleArn", "taskRoleArn")
"""Names of the members that contain a role, in task definitions and in overrides of requests."""


def execution_role_name(region: str) -> str:
    """Return the name of the role that the account has if ``EmulatorConfig.prepared`` is true."""
    return f"cloudburst-execution-{region}"


class Roles:
    """IAM roles of the emulated account, with checks that tasks can already use these roles."""

    def __init__(self, config: EmulatorConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._prefix = f"arn:aws:iam::{config.account}:role"
        self._made: dict[str, float] = {}
        if config.prepared:
            self._made[f"{self._prefix}/{execution_role_name(config.region)}"] = -math.inf

    def record_change(self, operation: str, parameters: Mapping[str, str]) -> None:
        """Record that a call of IAM created or deleted a role; ignore other calls."""
        name = parameters.get("RoleName", "")
        if operation == "CreateRole":
            self._made[f"{self._prefix}{parameters.get('Path') or '/'}{name}"] = self._clock()
        elif operation == "DeleteRole":
            for arn in [arn for arn in self._made if arn.rpartition("/")[2] == name]:
                del self._made[arn]

    def check_passing(self, parameters: Mapping[str, Any], caller: str) -> None:
        """Check that a task definition can be registered with its roles.

        Raises:
            ApiError: a role does not exist, or is too new to be passed to ECS.
        """
        for role in _named(parameters):
            age = self._age(role)
            if age is None:
                raise client_error("Role is not valid")
            if age < self._config.role_passable:
                raise ApiError(
                    "AccessDeniedException",
                    f"User: {caller} is not authorized to perform: iam:PassRole on resource: "
                    f"{self._arn(role)} because no identity-based policy allows the iam:PassRole "
                    "action",
                )

    def check_run(self, definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        """Check the roles of a RunTask request.

        Raises:
            ApiError: a role does not exist, or is too new to be assumed by ECS.
        """
        for role in _named({**definition, **overrides}):
            age = self._age(role)
            if age is None or age < self._config.role_assumable / 2:
                raise client_error(self._not_assumed(role))

    def start_failure(
        self, definition: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> str | None:
        """Return the reason why a starting task cannot assume one of its roles, or ``None``."""
        for role in _named({**definition, **overrides}):
            age = self._age(role)
            if age is None or age < self._config.role_assumable:
                return self._not_assumed(role)
        return None

    def _age(self, role: str) -> float | None:
        made = self._made.get(self._arn(role))
        return None if made is None else self._clock() - made

    def _arn(self, role: str) -> str:
        return role if role.startswith("arn:") else f"{self._prefix}/{role}"

    def _not_assumed(self, role: str) -> str:
        return (
            f"ECS was unable to assume the role '{self._arn(role)}' that was provided for this "
            "task. Please verify that the role being passed has the proper trust relationship and "
            "permissions and that your IAM user has permissions to pass this role."
        )


def _named(members: Mapping[str, Any]) -> Iterable[str]:
    return [str(members[name]) for name in ROLE_MEMBERS if members.get(name)]
