"""Which workers a run shall have, by its deadline and its budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cloudburst.backends import burst, fargate, local
from cloudburst.cli.offers import Knowledge, Known
from cloudburst.cli.running import Job
from cloudburst.cli.where import Where, unknown_backend
from cloudburst.cli.words import clock, count, usd
from cloudburst.engine.figures import work
from cloudburst.engine.plan import Crew, Offer, Plan, Plans, plans, usual
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.ports import OpenBackend
from cloudburst.preflight import check

NEW_ACCOUNT = 6
"""vCPU on Fargate that AWS lets a new account have at once, on demand and on Spot each: "Amazon ECS
endpoints and quotas", AWS General Reference (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A plan, why it is that one, and what else there is."""

    plan: Plan
    why: str
    fits: bool
    """It keeps to what was asked for."""
    every: Plans
    known: Sequence[Known]

    @property
    def tier(self) -> Tier:
        """Of its tasks; the usual one where it has none."""
        paid = self.plan.paid
        return (paid and paid.offer.tier) or Tier.STANDARD


def choose(
    works: Sequence[float],
    known: Sequence[Known],
    *,
    deadline: float | None,
    budget: Decimal | None,
    usual_known: Sequence[Known],
    most: int,
) -> Choice:
    """The cheapest plan that is done in time, else the fastest one for the money, else the usual.

    Where none keeps to what was asked for it is the nearest one. The usual one is of other workers,
    ``most`` tasks at most.
    """
    every = plans(works, [each.offer for each in known])
    if deadline is not None:
        found = every.cheapest(deadline=deadline, budget=budget)
        why = f"the cheapest that is done in {clock(deadline)}"
        if budget is not None:
            why += f", for {usd(budget)} at most"
    elif budget is not None:
        found = every.fastest(budget=budget)
        why = f"the fastest that costs {usd(budget)} at most, also if all is slow"
    else:
        found = usual(works, list(_usual_offers(usual_known)), most=most)
        why = "what cloudburst render does unless it is told otherwise"
    plan = found or every.nearest(deadline=deadline, budget=budget)
    return Choice(plan=plan, why=why, fits=found is not None, every=every, known=known)


def _usual_offers(known: Sequence[Known]) -> Iterator[Offer]:
    """Of several sizes the usual one."""
    sizes = {each.offer.tier for each in known if each.offer.tier}
    for each in known:
        if each.offer.tier is None or len(sizes) == 1 or each.offer.tier is Tier.STANDARD:
            yield each.offer


def nothing_fits(choice: Choice, *, deadline: float | None, budget: Decimal | None) -> str:
    """That no plan keeps to what was asked for, and which one is nearest."""
    wanted = [f"done in {clock(deadline)}"] if deadline is not None else []
    wanted += [f"sure to cost {usd(budget)} at most"] if budget is not None else []
    return f"no plan is {' and '.join(wanted)}; the nearest: {told(choice.plan)}"


def as_planned(job: Job, where: Where, settings: Settings, *, workers: int | None) -> Job:
    """The same run on the workers of the plan that is chosen for it.

    Raises `InvalidScenesError` for scenes that cannot be rendered, and `ConfigurationError` where
    no plan keeps to what was asked for.
    """
    checked = check(job.scenes, job.options, job.limits)
    known = candidates(Knowledge(), where, settings, workers=workers, everywhere=False)
    choice = choose(
        [work(scene, job.options) for scene in checked],
        known,
        deadline=where.deadline,
        budget=where.budget,
        usual_known=known,
        most=job.limits.workers,
    )
    if not choice.fits:
        raise ConfigurationError(nothing_fits(choice, deadline=where.deadline, budget=where.budget))
    plan = choice.plan
    limits = replace(
        job.limits,
        workers=plan.tasks or job.limits.workers,
        # The engine starts what does not pay for itself only where a deadline asks for it.
        deadline=plan.seconds if where.deadline is None else where.deadline,
        max_usd=where.budget,
    )
    backend = job.backend
    if {crew.offer.backend for crew in plan.crews} != {"endpoints"}:
        backend = _openers(plan, where.asked(settings), workers=workers)
    return replace(job, backend=backend, tier=choice.tier, limits=limits)


def _openers(plan: Plan, settings: Settings, *, workers: int | None) -> Sequence[OpenBackend]:
    """Of the backends of a plan, and no other: what is not in it shall not be started."""
    names = {crew.offer.backend for crew in plan.crews}
    if names == {"local"}:
        return [local(workers=workers)]
    return burst(settings) if "local" in names else [fargate(settings)]


def candidates(
    knowledge: Knowledge,
    where: Where,
    settings: Settings,
    *,
    workers: int | None,
    everywhere: bool,
) -> list[Known]:
    """Workers that there may be, those that cost nothing first.

    ``everywhere``: where no backend is named, Fargate counts without a subnet too. Raises
    `ConfigurationError` when there can be none at all.
    """
    backend = where.backend
    if backend is not None and "://" in backend:
        return [knowledge.endpoints(where.addresses(), where.protocol)]
    if backend is not None and backend not in {"local", "fargate", "burst"}:
        raise unknown_backend(backend)
    cloud = backend in {"fargate", "burst"}
    if backend is None:
        cloud = everywhere or bool(settings.subnets)
    found = list[Known]()
    # Beside tasks, the number is that of tasks.
    here = knowledge.local(workers=None if cloud else workers)
    if backend in {None, "local", "burst"} and here is not None:
        found.append(here)
    if cloud:
        tiers = [where.size()] if where.tier else sorted(Tier, key=lambda tier: tier.vcpu)
        found += knowledge.fargate(where.asked(settings), tiers=tiers, workers=workers)
    if not found:
        raise ConfigurationError("this machine cannot render: pip install 'cloudburst-sdk[local]'")
    return found


def told(plan: Plan) -> str:
    """``$0.0031, 4 min 10 s: 2 tasks of STANDARD and this machine``."""
    return f"{_price(plan)}, {clock(plan.seconds)}: {' and '.join(_crews(plan.crews))}"


def _price(plan: Plan) -> str:
    return usd(plan.usd) if plan.paid else "nothing to pay"


def _crews(crews: Sequence[Crew]) -> Iterator[str]:
    for crew in sorted(crews, key=lambda crew: not crew.offer.usd_per_second):
        offer = crew.offer
        if offer.backend == "local":
            yield "this machine"
        elif offer.tier is None:
            yield count(crew.number, "container")
        else:
            yield f"{count(crew.number, 'task')} of {offer.tier.name}"


def who(plan: Plan) -> str:
    """The same, short: ``2 × STANDARD + here``."""
    return " + ".join(
        "here"
        if crew.offer.backend == "local"
        else f"{crew.number} × {crew.offer.tier.name if crew.offer.tier else 'container'}"
        for crew in sorted(plan.crews, key=lambda crew: not crew.offer.usd_per_second)
    )


def vcpu(plan: Plan) -> int:
    """VCPU of all its tasks."""
    return plan.tasks * (plan.paid.offer.tier.vcpu if plan.paid and plan.paid.offer.tier else 0)
