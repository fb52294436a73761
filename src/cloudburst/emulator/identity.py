"""Emulated STS and IAM APIs: access keys, and the policies of their owners."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.policies import Access, Document, decide, refusal
from cloudburst.emulator.protocols import numbered_values
from cloudburst.emulator.signature import Signature, SignedRequest

# Lifetime of credentials from AssumeRole, in seconds: the STS API reference (2026-11).
DEFAULT_SESSION_SECONDS = 3600
# Services whose requests may be signed for us-east-1 in any region.
GLOBAL_SERVICES = {"iam", "sts", "pricing", "organizations", "cloudfront", "route53"}

FORBIDDEN_STATUS_SERVICES = {"sts", "iam"}
XML_SERVICES = ("sts", "iam", "s3")
# Key of the error code that all other services use.
OTHERS = ""
EXPIRED_CODES = {"ec2": "RequestExpired"} | dict.fromkeys(XML_SERVICES, "ExpiredToken")
DENIED_CODES = {"ec2": "UnauthorizedOperation"} | dict.fromkeys(XML_SERVICES, "AccessDenied")
UNKNOWN_KEY_CODES = dict.fromkeys(("sts", "iam"), "InvalidClientTokenId") | {
    "ec2": "AuthFailure",
    "s3": "InvalidAccessKeyId",
    OTHERS: "UnrecognizedClientException",
}
# Error codes for a wrong signature, by service. Source: "Common errors" in the API references of
# the services (2026-11), also for `UNKNOWN_KEY_CODES` and `UNTIMELY_CODES`.
WRONG_SIGNATURE_CODES = dict.fromkeys(XML_SERVICES, "SignatureDoesNotMatch") | {
    "ec2": "AuthFailure",
    OTHERS: "InvalidSignatureException",
}
UNTIMELY_CODES = WRONG_SIGNATURE_CODES | {"s3": "RequestTimeTooSkewed", "ec2": "RequestExpired"}


def _statement(effect: str, *actions: str) -> Document:
    return {"Statement": {"Effect": effect, "Action": list(actions), "Resource": "*"}}


FULL_ACCESS = (_statement("Allow", "*"),)
# Policy of the keys of other accounts.
S3_ONLY = (_statement("Allow", "s3:*"),)
# Actions that need no permission: GetCallerIdentity in the STS API reference (2026-11).
ALWAYS_ALLOWED = _statement("Allow", "sts:GetCallerIdentity")


@dataclass(frozen=True, slots=True)
class _Key:
    secret: str
    arn: str
    token: str = ""
    """Session token; empty for a long-term key."""
    ends: float | None = None
    policies: Sequence[Document] = FULL_ACCESS

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


class Identity:
    """Access keys of the emulated account; requests signed with other keys are rejected."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._keys: dict[str, _Key] = {}
        self._expired: set[str] = set()
        self.key, self.secret = self.new_key()
        """Id and secret of the long-term access key that every emulator has from the start."""
        self.sts = {"AssumeRole": self._assume_role}
        self.iam = {"SimulatePrincipalPolicy": self._simulate}

    def new_key(
        self, account: str | None = None, policies: Sequence[Document] | None = None
    ) -> tuple[str, str]:
        """Create a long-term access key; return its id and its secret.

        A key of another account may only ask for its own identity, and use S3.
        A key with policies belongs to a user of its own, who may do what the policies allow.
        """
        key, secret = f"AKIA{_random_id()}", secrets.token_urlsafe(30)
        user = "emulator" if policies is None else f"emulator-{len(self._keys)}"
        arn = f"arn:aws:iam::{account or self._config.account}:user/{user}"
        if policies is None:
            policies = S3_ONLY if account not in {None, self._config.account} else FULL_ACCESS
        self._keys[key] = _Key(secret, arn, policies=policies)
        return key, secret

    def expire(self) -> None:
        """Expire every access key created so far."""
        self._expired |= set(self._keys)

    def knows(self, key: str) -> bool:
        """Return whether the emulated account has an access key with this id."""
        return key in self._keys

    def check_key(self, signature: Signature) -> None:
        """Check key, token, region and date of a signature, which need no body."""
        service, key = signature.service, self._keys.get(signature.key)
        if key is None or not hmac.compare_digest(key.token.encode(), signature.token.encode()):
            raise _refused(
                UNKNOWN_KEY_CODES,
                service,
                "The security token included in the request is invalid.",
            )
        regions = {self._config.region}
        if service in GLOBAL_SERVICES:
            regions.add("us-east-1")
        if signature.region not in regions and service != "s3":  # each bucket has its region
            raise _refused(
                WRONG_SIGNATURE_CODES,
                service,
                f"Credential should be scoped to a valid region, not '{signature.region}'.",
            )
        if not signature.is_timely(now := datetime.now(UTC)):
            if service == "s3" and signature.lasts is not None:
                expired = signature.has_expired(now)
                message = "Request has expired" if expired else "Request is not valid yet"
                raise ApiError("AccessDenied", message, status=403)
            raise _refused(
                UNTIMELY_CODES,
                service,
                f"Signature expired or not yet current: {signature.at:%Y%m%dT%H%M%SZ} is too far "
                "from the time here.",
            )

    def authenticate(self, signature: Signature, request: SignedRequest) -> None:
        """Check that a signature is valid for a complete request."""
        if not signature.fits(request, self._keys[signature.key].secret):
            raise _refused(
                WRONG_SIGNATURE_CODES,
                signature.service,
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method.",
            )

    def check_expiry(self, key: str, service: str, operation: str) -> None:
        """Check that an access key has not expired.

        AssumeRole also accepts expired keys: the long-term keys of AWS never expire, and callers
        need AssumeRole to get new credentials.
        """
        ends = self._keys[key].ends
        expired = key in self._expired or (ends is not None and time.time() > ends)
        if expired and (service, operation) != ("sts", "AssumeRole"):
            raise ApiError(
                EXPIRED_CODES.get(service, "ExpiredTokenException"),
                "The security token included in the request is expired",
                status=403 if service in FORBIDDEN_STATUS_SERVICES else 400,
            )

    def is_unlimited(self, key: str) -> bool:
        """Return whether an access key may do everything."""
        return self._keys[key].policies is FULL_ACCESS and not self._config.denied

    def permits(self, key: str, access: Access) -> bool:
        """Return whether the policies of an access key allow an access."""
        return self._decide(self._keys[key].arn, self._keys[key].policies, access) == "allowed"

    def check(self, key: str, access: Access, service: str) -> None:
        """Check that the policies of an access key allow an access that a service needs."""
        caller = self._keys[key]
        decision = self._decide(caller.arn, caller.policies, access)
        if decision != "allowed":
            start = "You are not authorized to perform this operation. " * (service == "ec2")
            raise ApiError(
                DENIED_CODES.get(service, "AccessDeniedException"),
                start + refusal(decision, access, caller.arn),
                status=403 if service in DENIED_CODES else 400,
            )

    def caller(self, key: str) -> dict[str, Any]:
        """Return the identity of an access key's owner, as in the response of GetCallerIdentity."""
        return {
            "Arn": self._keys[key].arn,
            "Account": self._keys[key].account,
        }

    def _decide(self, arn: str, policies: Sequence[Document], access: Access) -> str:
        denied = _statement("Deny", *self._config.denied)
        context = {"aws:username": arn.rpartition("/")[2], **access.context}
        documents = (*policies, ALWAYS_ALLOWED, denied)
        return decide(documents, replace(access, context=context))

    def _assume_role(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        seconds = self._config.role_seconds
        if seconds is None:
            seconds = float(parameters.get("DurationSeconds", DEFAULT_SESSION_SECONDS))
        role, name = parameters["RoleArn"].rpartition("/")[2], parameters["RoleSessionName"]
        arn = f"arn:aws:sts::{self._config.account}:assumed-role/{role}/{name}"
        key, ends = f"ASIA{_random_id()}", time.time() + seconds
        made = _Key(secrets.token_urlsafe(30), arn, secrets.token_urlsafe(120), ends)
        self._keys[key] = made
        return {
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": made.secret,
                "SessionToken": made.token,
                "Expiration": datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }

    def _simulate(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        principal, context = parameters["PolicySourceArn"], dict[str, Any]()
        policies = next(
            (key.policies for key in self._keys.values() if key.arn == principal), FULL_ACCESS
        )
        entry = "ContextEntries.member.{}".format
        while name := parameters.get(f"{entry(number := len(context) + 1)}.ContextKeyName"):
            context[name] = numbered_values(parameters, f"{entry(number)}.ContextKeyValues.member")
        accesses = [
            Access(action=action, resource=resource, context=context)
            for action in numbered_values(parameters, "ActionNames.member")
            for resource in numbered_values(parameters, "ResourceArns.member") or ["*"]
        ]
        results: list[dict[str, Any]] = [
            {
                "EvalActionName": access.action,
                "EvalDecision": self._decide(principal, policies, access),
            }
            for access in accesses
        ]
        return {"IsTruncated": False, "EvaluationResults": results}


def _random_id() -> str:
    return secrets.token_hex(8).upper()


def _refused(codes: Mapping[str, str], service: str, message: str) -> ApiError:
    by_service = {"ec2": 401, "sts": 403, "iam": 403, "s3": 403}
    code = codes.get(service, codes[OTHERS])
    return ApiError(code, message, status=by_service.get(service, 400))
