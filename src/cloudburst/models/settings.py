"""Settings from environment variables, many named as in AWS's tools and ``cloudburst-fargate``."""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cloudburst.errors import ConfigurationError
from cloudburst.files import read_regular_file
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import WrittenFolder
from cloudburst.models.options.values import none_if_blank
from cloudburst.models.problems import describe_value
from cloudburst.models.task import Protocol
from cloudburst.text import short_repr

# File in the current folder that is read in addition to the environment variables, and written by
# ``cloudburst init``.
ENV_FILE = Path(".env")
# Maximum size of a ``.env`` file in bytes, which has some hundred. For a value with spaces,
# python-dotenv needs time that grows with the square of their number: a second for 32 kB.
MAX_ENV_FILE_BYTES = 2**15


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables in a ``.env`` file; an empty dictionary if the file does not exist.

    ``${NAME}`` in a value is not replaced by the variable of that name: otherwise a malicious file
    could send any variable of this process to an endpoint that the file configures.

    Raises ``OSError`` for anything but a regular file of at most 32 kB, and ``ValueError`` for a
    file that is not UTF-8.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    text = read_regular_file(path, limit=MAX_ENV_FILE_BYTES).decode("utf-8-sig")
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


_KEY_ARN = re.compile(
    r"arn:aws[a-z-]{0,20}:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/[A-Za-z0-9-]{1,64}", re.ASCII
)
_KEY_EXAMPLE = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
_HEADER = "x-amz-server-side-encryption"


@dataclass(frozen=True, slots=True)
class S3Encryption:
    """Encryption that requests for new objects ask for.

    The values are those of "PutObject", Amazon S3 API reference (2026-11).
    """

    algorithm: str = ""
    """``AES256``, ``aws:kms`` or ``aws:kms:dsse``; empty: the default of the bucket."""
    key: str = ""
    """ARN of a key of KMS; empty: ``aws/s3``, if the algorithm needs a key."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the request for boto."""
        found = {"ServerSideEncryption": self.algorithm, "SSEKMSKeyId": self.key}
        return {name: value for name, value in found.items() if value}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the request."""
        found = {_HEADER: self.algorithm, f"{_HEADER}-aws-kms-key-id": self.key}
        return {name: value for name, value in found.items() if value}


def parse_s3_encryption(text: str) -> S3Encryption:
    """Return the encryption that a text names: an algorithm, or the ARN of a key of KMS.

    Raises ``ValueError`` for any other text.
    """
    if text in _ALGORITHMS:
        return S3Encryption(text)
    if _KEY_ARN.fullmatch(text):
        return S3Encryption("aws:kms", text)
    msg = f"{short_repr(text)}; expected {', '.join(_ALGORITHMS)} or the ARN of a key of KMS"
    raise ValueError(msg)


def check_s3_encryption(text: str) -> str:
    """Return a text from which `parse_s3_encryption` makes an encryption."""
    parse_s3_encryption(text)
    return text


def check_key_arn(text: str) -> str:
    """Return the ARN of a key of KMS. Raises ``ValueError`` if a text is none."""
    if not _KEY_ARN.fullmatch(text):
        msg = f"not the ARN of a key of KMS: {short_repr(text)}; expected one like {_KEY_EXAMPLE}"
        raise ValueError(msg)
    return text


def _named(variable: str, name: str, default: Any = None, **more: Any) -> Any:
    return Field(default=default, validation_alias=AliasChoices(variable, name), **more)


# Value of ``Settings.image`` for our own image, which ``cloudburst init`` builds and pushes to
# the account's ECR registry.
OWN_IMAGE = "own"
# Value of ``Settings.image`` for `PUBLIC_IMAGE_NAME`.
PUBLIC_IMAGE = "public"
# Name of the image of ``cloudburst-fargate``.
PUBLIC_IMAGE_NAME = "betashow/video-generation-api:latest"
_ENDPOINT = ("AWS_ENDPOINT_URL", "endpoint_url")
_S3_ENDPOINT = ("AWS_ENDPOINT_URL_S3", "s3_endpoint_url")
S3EncryptionText = Annotated[str, AfterValidator(check_s3_encryption)]
# Tuple of names; in the environment, a comma-separated list.
Names = Annotated[tuple[str, ...], NoDecode]


def full_image_name(image: str) -> str:
    """Return the image that a user names: `PUBLIC_IMAGE` stands for its full name.

    An empty text stands for our own image.
    """
    name = image.strip()
    return PUBLIC_IMAGE_NAME if name == PUBLIC_IMAGE else name or OWN_IMAGE


class Settings(BaseSettings):
    """Settings from the environment and from ``.env`` in the current folder.

    Arguments, as in ``Settings(capacity="FARGATE_SPOT")``, have priority over the environment, and
    the environment over the file. ``_env_file`` names another file, or none with ``None``. A
    configured subnet makes Fargate the default backend; credentials alone do not.

    Raises:
        ConfigurationError: An argument has an unknown name, a value is invalid, or the file cannot
            be read.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    _file: str = PrivateAttr(default="")
    _fields_of_file: frozenset[str] = PrivateAttr(default=frozenset())
    _fields_of_environment: frozenset[str] = PrivateAttr(default=frozenset())

    if not TYPE_CHECKING:  # type checkers and editors derive the parameters from the fields

        def __init__(self, _env_file: Path | str | None = ENV_FILE, **values: Any) -> None:
            _check_names(values)
            try:
                # The file is not read by pydantic-settings, which replaces ${NAME} and blocks on a
                # pipe.
                file = {} if _env_file is None else read_env_file(Path(_env_file))
                found = _left_to_file(file, values)
                if values.keys() & {*_ENDPOINT} and not values.keys() & {*_S3_ENDPOINT}:
                    found["s3_endpoint_url"] = None
                super().__init__(**found, **values)
            except ValidationError as exc:
                faults = list[str]()
                for error in exc.errors():
                    name = str(error["loc"][0])
                    place = f"{_names(name)[0]} in {_env_file}" if name in found else name
                    found, valid = describe_value(error)  # a value may be a secret
                    shown = f"{found}; " if f"{found}; " in error["msg"] else ""
                    faults.append(f"{place}: {shown}expected {valid}")
                raise ConfigurationError("; ".join(faults)) from exc
            except (ValueError, OSError) as exc:
                raise ConfigurationError(f"{_env_file}: {exc}") from exc
            self._file = str(_env_file)
            self._fields_of_file = frozenset(found)
            given = (
                name for name in self.model_fields_set if values.keys().isdisjoint(_names(name))
            )
            self._fields_of_environment = frozenset(given) - self._fields_of_file

    # Credentials. Without keys and profile, boto's own chain applies: SSO, instance roles…
    access_key_id: str | None = _named("AWS_ACCESS_KEY_ID", "access_key_id")
    secret_access_key: SecretStr | None = _named("AWS_SECRET_ACCESS_KEY", "secret_access_key")
    session_token: SecretStr | None = _named("AWS_SESSION_TOKEN", "session_token")
    profile: str | None = _named("AWS_PROFILE", "profile")
    region: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION", "region"),
    )
    """AWS region; ``None``: the region of the profile, or us-east-1 if it has none."""
    role_arn: str | None = _named("AWS_ROLE_ARN", "role_arn")
    """ARN of a role to assume with the credentials; ``None``: use the credentials themselves. If
    the role cannot be assumed, no other credentials are tried."""
    external_id: str | None = _named("AWS_EXTERNAL_ID", "external_id")
    role_session_name: str = _named("AWS_ROLE_SESSION_NAME", "role_session_name", "cloudburst")
    endpoint_url: str | None = _named(*_ENDPOINT)
    """Address of an emulator to use instead of AWS; ``None``: use AWS."""
    s3_endpoint_url: str | None = _named(*_S3_ENDPOINT)
    """Address of another store with the API of S3, by ``https``, or by ``http`` on this machine;
    ``None``: the address in ``endpoint_url``. An ``endpoint_url`` that is passed as an argument has
    priority over the environment variable."""

    # Tasks.
    subnets: Names = _named("AWS_SUBNET_ID", "subnets", ())
    """Subnets of the tasks; in the environment, a comma-separated list."""
    security_groups: Names = _named("AWS_SECURITY_GROUP_ID", "security_groups", ())
    """Security groups of the tasks, given in the same way. Empty: the default group of the VPC."""
    public_address: bool = _named("CLOUDBURST_PUBLIC_ADDRESS", "public_address", True)
    """True if tasks get public addresses. False if workers are reached inside the VPC, which avoids
    the cost of public addresses and the calls to EC2 that look them up."""
    cluster: str = _named("ECS_CLUSTER_NAME", "cluster", "cloudburst-cluster")
    task_definition: str = _named("ECS_TASK_DEFINITION", "task_definition", "cloudburst-task")
    """Task definition as family, ``family:revision`` or ARN. It determines the processor
    architecture, the image and the protocol of the tasks. The default is the family that
    ``cloudburst-fargate`` uses. ``cloudburst init`` does not give our image to that family, unless
    it is set explicitly, because the old client could not use it."""
    capacity: Literal["FARGATE", "FARGATE_SPOT"] = _named(
        "CLOUDBURST_CAPACITY", "capacity", "FARGATE"
    )
    fallbacks: Names = _named("CLOUDBURST_FALLBACKS", "fallbacks", ("subnet", "on-demand", "size"))
    """Fallbacks that are allowed if Fargate has no capacity: ``subnet`` (each subnet alone),
    ``on-demand`` (instead of Spot) and ``size`` (a larger task), tried in this order. Empty: wait
    for capacity."""
    platform_version: str | None = _named("CLOUDBURST_PLATFORM_VERSION", "platform_version")
    """Platform version of Fargate; ``None``: AWS's ``LATEST``."""
    ephemeral_storage: int | None = _named(
        "CLOUDBURST_EPHEMERAL_STORAGE", "ephemeral_storage", ge=21, le=200
    )
    """Disk space of a task in GB, from 21 to 200; ``None`` for 20 GB, which are not billed."""

    # Workers.
    image: str = _named("DOCKER_IMAGE", "image", OWN_IMAGE)
    """Container image that ``cloudburst init`` writes into the task definition: ``own`` for our
    image, which ``init`` builds and pushes to ECR; ``public`` for the image of
    ``cloudburst-fargate``; or the name of an image in any registry."""
    base_image: str | None = _named("CLOUDBURST_BASE_IMAGE", "base_image")
    """Base of our own image; ``None``: ``python:3.13-slim``."""
    protocol: Protocol | None = _named("CLOUDBURST_PROTOCOL", "protocol")
    """Protocol of the image; ``None``: the protocol in the label ``cloudburst.protocol`` of the
    task definition, or ``onestep``, that of the public image, if the label is missing."""
    auth_key: SecretStr | None = _named("VIDEO_API_AUTH_KEY", "auth_key")
    """Key for the requests to all workers; ``None``: a new random key for each worker."""
    lifetime: float = _named("CLOUDBURST_LIFETIME", "lifetime", 3600.0, gt=0)
    """Seconds after which a task ends by itself, even if this process no longer exists."""
    idle: float = _named("CLOUDBURST_IDLE", "idle", 300.0, gt=0)
    """Seconds without a request after which a task ends by itself, if its image supports it."""
    api_timeout_minutes: float = _named("API_TIMEOUT_MINUTES", "api_timeout_minutes", 15.0, gt=0)
    """Minutes that an attempt at a scene may take without progress: ``Timeouts.scene``. The name is
    that of ``cloudburst-fargate``."""
    api_request_timeout_seconds: float = _named(
        "API_REQUEST_TIMEOUT_SECONDS", "api_request_timeout_seconds", 300.0, gt=0
    )
    """Seconds within which a worker must be ready: ``Timeouts.ready``. The name is that of
    ``cloudburst-fargate``."""

    s3_encryption: S3EncryptionText | None = _named("CLOUDBURST_S3_ENCRYPTION", "s3_encryption")
    """Encryption that requests for new objects in S3 name, for buckets whose policy demands it:
    ``AES256``, ``aws:kms`` or ``aws:kms:dsse`` (with the key ``aws/s3``), or the ARN of a key of
    KMS. ``None``: requests name none, and S3 uses the default of the bucket."""
    s3_requester_pays: bool = _named("CLOUDBURST_S3_REQUESTER_PAYS", "s3_requester_pays", False)
    """True to agree to pay for requests to buckets with Requester Pays."""
    fonts: Annotated[Path | None, BeforeValidator(none_if_blank)] = _named(
        "CLOUDBURST_FONTS", "fonts"
    )
    """Folder with fonts, of which those with characters that the option ``font`` lacks are used
    before other fonts of this machine."""
    private_inputs: bool = _named("CLOUDBURST_PRIVATE_INPUTS", "private_inputs", False)
    """True if ``https://`` inputs may be on servers with private and loopback addresses, for
    example in an intranet."""
    results: WrittenFolder | None = _named("RESULTS_DIR", "results")
    """Folder for the videos of calls that do not name one: a path, or ``s3://bucket/folder/``;
    ``None``: the default folder of the call."""

    @property
    def names_task_definition(self) -> bool:
        """True if the task definition was set explicitly, even to its default."""
        return "task_definition" in self.model_fields_set

    def timeouts(self) -> Timeouts:
        """Return the timeouts of a run according to these settings."""
        return Timeouts(scene=self.api_timeout_minutes * 60, ready=self.api_request_timeout_seconds)

    def is_from_file(self, field: str) -> bool:
        """Return whether the value of a field is from ``.env``."""
        return field in self._fields_of_file

    def is_from_environment(self, field: str) -> bool:
        """Return whether the value of a field is from an environment variable."""
        return field in self._fields_of_environment

    def origin(self, field: str) -> str:
        """Return the variable of a field, with the file that sets it; empty if it is not set."""
        if field not in self.model_fields_set or not getattr(self, field):
            return ""
        file = f" in {self._file}" if self.is_from_file(field) else ""
        return f"{_names(field)[0]}{file}"

    @field_validator("image")
    @classmethod
    def _full_image_name(cls, value: str) -> str:
        return full_image_name(value)

    @field_validator("endpoint_url", "s3_endpoint_url")
    @classmethod
    def _parsed_url(cls, value: str | None) -> str | None:
        try:
            urlsplit(value or "")
        except ValueError as exc:
            raise ValueError(f"{exc}; expected an address such as https://host:8000") from exc
        return value or None

    @field_validator("subnets", "security_groups", "fallbacks", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for raw in value.split(",") if (part := raw.strip()))
        return value


def _names(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [field]


def _check_names(values: Iterable[str]) -> None:
    known = [name for field in Settings.model_fields for name in _names(field)]
    faults = list[str]()
    for name in values:
        near = [] if name in known else difflib.get_close_matches(name, known, n=1)
        if name not in known and (near or not name.isupper()):
            expected = near[0] if near else f"one of {', '.join(sorted(Settings.model_fields))}"
            faults.append(f"{name} is not a setting; expected {expected}")
    if faults:
        raise ConfigurationError("; ".join(faults))


def _left_to_file(file: Mapping[str, str], values: Container[str]) -> dict[str, str | None]:
    """Return the fields of a ``.env`` file that neither arguments nor the environment override."""
    found = {name.upper(): value for name, value in file.items()}
    taken = {name.upper() for name in os.environ}
    left: dict[str, str | None] = {}
    for field in Settings.model_fields:
        names = _names(field)
        if not any(name in values or name.upper() in taken for name in names):
            value = next((found[name.upper()] for name in names if name.upper() in found), None)
            if value is not None:
                left[field] = value
    return left
