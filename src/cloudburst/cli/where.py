"""Options that say where workers run, how large they are and what they may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from cyclopts import Parameter

from cloudburst.backends import (
    burst,
    default_backend,
    endpoints,
    fargate,
    local,
    renders_here,
)
from cloudburst.cli.options import RUN
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.ports import OpenBackend


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
        str, Parameter(help="Size of a Fargate task: a name or its priority, 1 to 5.")
    ] = Tier.STANDARD.name
    max_usd: Annotated[
        Decimal | None, Parameter(help="Begin nothing by which the bill would pass this.")
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
                return self._endpoints(addresses, settings)
            case other:
                msg = (
                    f"--backend: {other!r}; expected local, fargate, burst or addresses (http://…)"
                )
                raise ConfigurationError(msg)

    def _endpoints(self, addresses: str, settings: Settings) -> OpenBackend:
        each = [part for raw in addresses.split(",") if (part := raw.strip())]
        key = settings.auth_key.get_secret_value() if settings.auth_key else None
        return endpoints(*each, key=key, protocol=self.protocol)

    def size(self) -> Tier:
        """The tier. Raises `ConfigurationError` for one that is unknown."""
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
