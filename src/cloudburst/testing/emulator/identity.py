"""STS and IAM: who calls, and what they may do."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.refusal import RefusedError
from cloudburst.testing.emulator.wire import numbered

DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 3600, 900, 43_200
"""Of a session: AssumeRole in the STS API reference (2026-11)."""

EXPIRED = {"ec2": "RequestExpired", "sts": "ExpiredToken", "iam": "ExpiredToken"}
DENIED = {"ec2": "UnauthorizedOperation", "sts": "AccessDenied", "iam": "AccessDenied"}
"""What services call it that do not speak JSON: "Common errors" of their API references
(2026-11)."""


@dataclass(frozen=True, slots=True)
class _Session:
    arn: str
    ends: float


class Identity:
    """The credentials of the account."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._sessions: dict[str, _Session] = {}
        self._seen: set[str] = set()
        self._expired: set[str] = set()
        self.sts = {"AssumeRole": self._assume_role}
        self.iam = {"SimulatePrincipalPolicy": self._simulate}

    def expire(self) -> None:
        """Every access key that was seen so far is expired."""
        self._expired |= self._seen | set(self._sessions)

    def check(self, service: str, operation: str, key: str) -> None:
        """Raises `RefusedError` for a key that is expired, or may not do this.

        AssumeRole is open to expired keys too: long-term keys never expire at AWS, and it is the
        way to fresh ones.
        """
        if not key and service not in {"s3", "sts"}:
            raise RefusedError(
                "MissingAuthenticationTokenException", "Missing Authentication Token", status=403
            )
        self._seen.add(key)
        action = f"{service}:{operation}"
        session = self._sessions.get(key)
        expired = key in self._expired or (session and time.time() > session.ends)
        if expired and action != "sts:AssumeRole":
            raise RefusedError(
                EXPIRED.get(service, "ExpiredTokenException"),
                "The security token included in the request is expired",
                status=403 if service in {"sts", "iam"} else 400,
            )
        if self._is_denied(action):
            raise RefusedError(
                DENIED.get(service, "AccessDeniedException"),
                f"User: {self._arn(key)} is not authorized to perform: {action}",
                status=403 if service in DENIED else 400,
            )

    def caller(self, key: str) -> dict[str, Any]:
        """GetCallerIdentity."""
        return {
            "Arn": self._arn(key),
            "UserId": f"AIDA{key[-12:]}",
            "Account": self._config.account,
        }

    def _arn(self, key: str) -> str:
        session = self._sessions.get(key)
        return session.arn if session else f"arn:aws:iam::{self._config.account}:user/emulator"

    def _is_denied(self, action: str) -> bool:
        return any(fnmatchcase(action, pattern) for pattern in self._config.denied)

    def _assume_role(self, asked: Mapping[str, str]) -> dict[str, Any]:
        seconds: float = int(asked.get("DurationSeconds", DEFAULT_SECONDS))
        if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            raise RefusedError(
                "ValidationError", f"DurationSeconds must be {LEAST_SECONDS} to {MOST_SECONDS}."
            )
        seconds = seconds if self._config.role_seconds is None else self._config.role_seconds
        role, name = asked["RoleArn"].rpartition("/")[2], asked["RoleSessionName"]
        arn = f"arn:aws:sts::{self._config.account}:assumed-role/{role}/{name}"
        key, ends = f"ASIA{secrets.token_hex(8).upper()}", time.time() + seconds
        self._sessions[key] = _Session(arn, ends)
        return {
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": secrets.token_urlsafe(30),
                "SessionToken": secrets.token_urlsafe(120),
                "Expiration": datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "AssumedRoleUser": {"AssumedRoleId": f"AROA{key[4:]}:{name}", "Arn": arn},
        }

    def _simulate(self, asked: Mapping[str, str]) -> dict[str, Any]:
        resources = numbered(asked, "ResourceArns.member") or ["*"]
        return {
            "IsTruncated": False,
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": "implicitDeny" if self._is_denied(action) else "allowed",
                    "MatchedStatements": [],
                    "MissingContextValues": [],
                }
                for action in numbered(asked, "ActionNames.member")
                for resource in resources
            ],
        }
