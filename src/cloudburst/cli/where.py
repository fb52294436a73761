"""Options that say where workers run, how large they are and what they may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cloudburst.backends import (
    burst,
    default_backend,
    endpoints,
    fargate,
    local,
    renders_here,
)
from cloudburst.cli.durations import Duration
from cloudburst.cli.options import RUN
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.ports import OpenBackend

SPOT = "FARGATE_SPOT"


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class Where:
    """Where workers run."""

    backend: Annotated[
        str | None,
        Parameter(
            help="local, fargate, burst (both at once: tasks where they pay), or the addresses of "
            "containers that run already (http://a:5000,http://b:5000). Default: burst if "
            "AWS_SUBNET_ID is set and this machine can render, else fargate; local without it."
        ),
    ] = None
    protocol: Annotated[
        Protocol,
        Parameter(help="What those containers speak: ours speaks both, the public image onestep."),
    ] = Protocol.ONESTEP
    tier: Annotated[
        str | None, Parameter(help="Size of a Fargate task: a name or its priority, 1 to 5.")
    ] = None
    spot: Annotated[
        bool, Parameter(negative=(), help="Fargate Spot: cheaper, and may be taken back.")
    ] = False
    deadline: Annotated[
        Duration | None,
        Parameter(
            help="Be done in so much time (90s, 10m, 1h30m): the cheapest size and number of "
            "tasks that can."
        ),
    ] = None
    budget: Annotated[
        Decimal | None,
        Parameter(
            name=["--budget", "--max-usd"],
            validator=Number(gt=0),
            help="In USD. Without a deadline: the fastest tasks that keep to it. Begin nothing by "
            "which the bill would pass it.",
        ),
    ] = None

    def opener(
        self, settings: Settings, *, workers: int | None
    ) -> OpenBackend | Sequence[OpenBackend]:
        """The backend, or several. Raises `ConfigurationError` for one that there cannot be."""
        match self.backend:
            case None if settings.subnets and renders_here():
                return burst(settings)
            case None:
                return default_backend(settings, workers=workers)
            case "local":
                return local(workers=workers)
            case "fargate":
                return fargate(settings)
            case "burst":
                return burst(settings)
            case addresses if "://" in addresses:
                return self._endpoints(settings)
            case other:
                raise unknown_backend(other)

    def addresses(self) -> list[str]:
        """Of containers that run already."""
        return [part for raw in (self.backend or "").split(",") if (part := raw.strip())]

    def _endpoints(self, settings: Settings) -> OpenBackend:
        key = settings.auth_key.get_secret_value() if settings.auth_key else None
        return endpoints(*self.addresses(), key=key, protocol=self.protocol)

    def asked(self, settings: Settings) -> Settings:
        """The settings with what was asked for here."""
        return settings.model_copy(update={"capacity": SPOT}) if self.spot else settings

    def size(self) -> Tier:
        """The tier, or the usual one. Raises `ConfigurationError` for one that is unknown."""
        if self.tier is None:
            return Tier.STANDARD
        if self.tier.isdecimal():
            try:
                return Tier.by_priority(int(self.tier))
            except ValueError as exc:
                raise ConfigurationError(f"--tier: {exc}") from exc
        name = self.tier.upper().replace("-", "_")
        if name not in Tier.__members__:
            known = ", ".join(f"{tier.name} ({tier.priority})" for tier in Tier)
            raise ConfigurationError(f"--tier: {self.tier!r}; expected one of {known}")
        return Tier[name]


def unknown_backend(name: str) -> ConfigurationError:
    """For a backend that there is not."""
    expected = "local, fargate, burst or addresses (http://…)"
    return ConfigurationError(f"--backend: {name!r}; expected {expected}")
