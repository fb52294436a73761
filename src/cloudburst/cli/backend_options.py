"""Command-line options for the backend, the size of tasks, the deadline and the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from cloudburst.cli.options import RUN, Duration, WholeNumber
from cloudburst.client.backends import (
    SPOT,
    burst,
    can_render_locally,
    default_backend,
    endpoints,
    fargate,
    local,
)
from cloudburst.errors import ConfigurationError
from cloudburst.models.limits import Limits
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import OpenBackend
from cloudburst.text import shorten


def _convert_usd(_type: Any, tokens: Sequence[Token]) -> Decimal:
    text = tokens[0].value
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite():
        raise ValueError(f"{shorten(text, 40)}; expected an amount in USD such as 0.50")
    return amount


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Command-line options for the backend and the bill of a new or resumed run."""

    backend: Annotated[str | None, Parameter(metavar="WHERE")] = None
    """local, fargate, burst (both, with tasks where they are worth their price), or addresses
    of running containers (http://a:5000,http://b:5000). Default: that of a resumed run; else burst
    if AWS_SUBNET_ID is set (fargate if this machine cannot render), else local."""
    protocol: Annotated[Protocol, Parameter(show=False)] = Protocol.NATIVE
    """Protocol of these containers: native (our image) or onestep (the public image)."""
    spot: Annotated[bool, Parameter(negative=())] = False
    """Use Fargate Spot: cheaper; AWS may interrupt tasks."""
    budget: Annotated[
        Decimal | None,
        Parameter(name=["--budget", "--max-usd"], converter=_convert_usd, validator=Number(gt=0)),
    ] = None
    """Largest bill, with earlier tasks of a resumed run: nothing is started that would take it
    over this."""
    hour_usd: Annotated[
        Decimal | None, Parameter(converter=_convert_usd, validator=Number(gte=0))
    ] = None
    """Value of an hour of waiting: a task is started if the time that it saves is worth more than
    it adds to the bill."""

    def open_backend(
        self, settings: Settings, *, workers: int | None
    ) -> OpenBackend | Sequence[OpenBackend]:
        """Return the backend that the options name, or several backends that share a queue."""
        match self.backend:
            case None if settings.subnets and can_render_locally():
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
                key = settings.auth_key.get_secret_value() if settings.auth_key else None
                parts = filter(None, map(str.strip, addresses.split(",")))
                return endpoints(*parts, key=key, protocol=self.protocol)
            case other:
                expected = "local, fargate, burst or addresses (http://…)"
                raise ConfigurationError(f"--backend: {other!r}; expected {expected}")

    def apply_to(self, settings: Settings) -> Settings:
        """Return the settings, with Fargate Spot as capacity provider if ``--spot`` was given."""
        return settings.model_copy(update={"capacity": SPOT}) if self.spot else settings

    def limits(self, limits: Limits) -> Limits:
        """Return limits with the budget and the value of an hour that were given."""
        return replace(
            limits,
            max_usd=limits.max_usd if self.budget is None else self.budget,
            hour_usd=limits.hour_usd if self.hour_usd is None else self.hour_usd,
        )


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class StandingOptions(WorkerOptions):
    """Command-line options for the backend, the workers and the bill of a server."""

    workers: Annotated[WholeNumber | None, Parameter(validator=Number(gte=1))] = None
    """Workers at once. Default: one per core, at most 4."""
    owner_usd: Annotated[
        Decimal | None, Parameter(converter=_convert_usd, validator=Number(gt=0))
    ] = None
    """Largest bill of all jobs in 24 hours."""
    sources: Annotated[
        tuple[str, ...], Parameter(name="--source", metavar="FOLDER", negative=())
    ] = ()
    """Folder in S3, such as s3://bucket/in/, from which scenes may use files; may be repeated."""
    destinations: Annotated[
        tuple[str, ...], Parameter(name="--destination", metavar="FOLDER", negative=())
    ] = ()
    """Folder in S3 to which videos may be written; may be repeated."""


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class BackendOptions(WorkerOptions):
    """Command-line options for the backend, size of tasks, deadline and budget of a new run."""

    tier: Annotated[str | None, Parameter(metavar="SIZE")] = None
    """Size of a Fargate task: a name or its priority, 1 to 5."""
    deadline: Duration | None = None
    """Finish within this time, such as 10m: use the cheapest size and number of tasks that can.
    With a budget and no deadline, the fastest tasks within the budget are used."""

    def selected_tier(self) -> Tier:
        """Return the tier that ``--tier`` names, or STANDARD without this option."""
        if self.tier is None:
            return Tier.STANDARD
        name = self.tier.upper().replace("-", "_")
        for tier in Tier:
            if name in {tier.name, str(tier.priority)}:
                return tier
        known = ", ".join(f"{tier.priority} ({tier.name})" for tier in Tier)
        raise ConfigurationError(f"--tier: {self.tier!r}; expected one of {known}")
