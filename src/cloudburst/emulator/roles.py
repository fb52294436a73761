"""IAM roles of tasks, and the delays until a new role or policy has an effect everywhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError, client_error
from cloudburst.emulator.policies import Access, Document, decide, refusal

# Names of the members that contain a role, in task definitions and in overrides of requests.
ROLE_MEMBERS = ("executionRoleArn", "taskRoleArn")


def execution_role_name(region: str) -> str:
    """Return the name of the role that the account has if ``EmulatorConfig.prepared`` is true."""
    return f"cloudburst-execution-{region}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDetails:
    """Tags and policies of a role."""

    tags: Mapping[str, str]
    boundary: str
    """ARN of the permissions boundary; empty if the role has none."""
    documents: Sequence[Sequence[Document]]
    """Policies, and the permissions boundary if there is one: both must allow an access."""


# First entry in the history of a role: its first policy has an effect after a while, too.
_NO_POLICY = (-math.inf, RoleDetails(tags={}, boundary="", documents=[[]]))


class Roles:
    """IAM roles of the emulated account, with checks that tasks can already use these roles."""

    def __init__(self, config: EmulatorConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._prefix = f"arn:aws:iam::{config.account}:role"
        self._made: dict[str, float] = {}
        self._details: dict[str, list[tuple[float, RoleDetails]]] = {}
        """Details of roles after each change, and the time of the change, by name of the role."""
        if config.prepared:
            self._made[f"{self._prefix}/{execution_role_name(config.region)}"] = -math.inf

    def record_change(
        self, operation: str, parameters: Mapping[str, str], details: RoleDetails | None = None
    ) -> None:
        """Record that a call of IAM created, changed or deleted a role."""
        name = parameters.get("RoleName", "")
        if details:
            self._details.setdefault(name, [_NO_POLICY]).append((self._clock(), details))
        if operation == "CreateRole":
            self._made[f"{self._prefix}{parameters.get('Path') or '/'}{name}"] = self._clock()
        elif operation == "DeleteRole":
            self._details.pop(name, None)
            for arn in [arn for arn in self._made if arn.rpartition("/")[2] == name]:
                del self._made[arn]

    def details(self, name: str) -> RoleDetails | None:
        """Return tags and policies of a role; ``None`` if it has not changed since the start."""
        found = self._details.get(name)
        return found[-1][1] if found else None

    def refusal(self, role: str, session: str, access: Access) -> str | None:
        """Return AWS's message if a task with this role may not do something, or ``None``.

        A change of the role's policies has an effect after ``EmulatorConfig.role_policy_lag``.
        """
        name = role.rpartition("/")[2]
        latest = self._clock() - self._config.role_policy_lag
        known = [details for at, details in self._details.get(name, ()) if at <= latest]
        if not known or all(decide(each, access) == "allowed" for each in known[-1].documents):
            return None
        caller = f"arn:aws:sts::{self._config.account}:assumed-role/{name}/{session}"
        return refusal("implicitDeny", access, caller)

    def check_passing(self, parameters: Mapping[str, Any], caller: str) -> None:
        """Check that a task definition can be registered with its roles."""
        for role in named_roles(parameters):
            age = self._age(role)
            if age is None:
                raise client_error("Role is not valid")
            if age < self._config.role_passable:
                access = Access(action="iam:PassRole", resource=self._arn(role))
                raise ApiError("AccessDeniedException", refusal("implicitDeny", access, caller))

    def check_run(self, definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        """Check the roles of a RunTask request."""
        for role in named_roles({**definition, **overrides}):
            age = self._age(role)
            if age is None or age < self._config.role_assumable / 2:
                raise client_error(self._not_assumed(role))

    def start_failure(
        self, definition: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> str | None:
        """Return the reason why a starting task cannot assume one of its roles, or ``None``."""
        for role in named_roles({**definition, **overrides}):
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


def named_roles(members: Mapping[str, Any]) -> Sequence[str]:
    """Return the execution role and the task role in a task definition or in overrides."""
    return [str(members[name]) for name in ROLE_MEMBERS if members.get(name)]
