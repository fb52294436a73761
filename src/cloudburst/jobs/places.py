"""Places where jobs are rendered, and the clients of this process for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

from cloudburst.client.backends import on_spot
from cloudburst.client.client import Client
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.jobs.models import JobTerms, Place
from cloudburst.ports.backend import OpenBackend

# Fields of a job for which it has a client of its own if its tasks are billed.
_OWN = ("tier", "workers", "spot", "max_usd", "deadline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Places that jobs may name, each with its backend; ``None``: it is not offered."""

    machine: OpenBackend | None = None
    """Backend of this machine, whose workers cost nothing."""
    fargate: OpenBackend | None = None
    """Backend of tasks on Fargate, which are billed."""
    workers: int = 16
    """Maximum number of tasks at once that a job may ask for."""

    def backends(self, place: Place) -> Sequence[OpenBackend]:
        """Return the backends of a place in the order of preference; none if it is not offered."""
        found = [self.machine] if place is not Place.FARGATE else []
        found += [self.fargate] if place is not Place.MACHINE else []
        return [backend for backend in found if backend] if all(found) else []

    @property
    def offered(self) -> Sequence[Place]:
        """Places that jobs may name."""
        return [place for place in Place if self.backends(place)]

    def check(self, terms: JobTerms) -> None:
        """Raise `InvalidScenesError` if a job asks for what is not offered."""
        faults = list[SceneFault]()
        if terms.place is not None and terms.place not in self.offered:
            expected = ", ".join([*self.offered, "null"])
            faults.append(SceneFault("", "place", terms.place, expected, "not_permitted"))
        if terms.workers is not None and terms.workers > self.workers:
            found, expected = str(terms.workers), f"at most {self.workers}"
            faults.append(SceneFault("", "workers", found, expected, "out_of_range"))
        if faults:
            raise InvalidScenesError(faults=faults)


@dataclass(slots=True)
class JobClients:
    """Clients of this process: one for each job whose terms need it, and shared ones."""

    # Open client of the queue.
    shared: Client
    places: Places
    # True if tasks of this client cost money.
    shared_is_billed: bool
    # Open client of all jobs of the place ``machine``, if it is offered.
    machine: Client | None = None
    # True while the workers of this machine belong to the client of one job.
    _machine_taken: bool = field(default=False, init=False)

    def is_billed(self, terms: JobTerms) -> bool:
        """Return whether a job with these terms may cost money."""
        return self.shared_is_billed if terms.place is None else terms.place is not Place.MACHINE

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Keep the client of this machine open, if there is one."""
        machine = self.places.backends(Place.MACHINE)
        if not machine or machine == self.shared.backends:
            yield
            return
        async with self.shared.variant(machine, limits=self.shared.limits) as self.machine:
            yield

    @asynccontextmanager
    async def client_for(
        self, terms: JobTerms, reserved_usd: Decimal | None
    ) -> AsyncGenerator[Client]:
        """Yield an open client for a job with these terms, whose bill has a limit, if any."""
        self.places.check(terms)  # the server may have been started with others since
        usual = self.shared.backends
        backends = self.places.backends(terms.place) if terms.place else usual
        own = reserved_usd is not None or any(getattr(terms, name) is not None for name in _OWN)
        if not self.is_billed(terms) or (backends == usual and not own):
            yield (terms.place is Place.MACHINE and self.machine) or self.shared
            return
        # Two clients would start more processes here than the machine has cores.
        takes = self.places.machine in backends and not self._machine_taken
        if not takes:
            backends = [backend for backend in backends if backend != self.places.machine]
        if terms.spot is not None:
            backends = [on_spot(backend, spot=terms.spot) for backend in backends]
        usd = reserved_usd, terms.max_usd, self.shared.limits.max_usd
        limits = replace(
            self.shared.limits,
            workers=terms.workers or self.shared.limits.workers,
            deadline=terms.deadline,
            idle=0.0,
            max_usd=min(filter(None, usd), default=None),
        )
        self._machine_taken |= takes
        try:
            async with self.shared.variant(backends, tier=terms.tier, limits=limits) as client:
                yield client
        finally:
            if takes:
                self._machine_taken = False
