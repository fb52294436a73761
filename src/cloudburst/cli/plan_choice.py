"""Choice of a plan by deadline and budget, among kinds of workers with performance and price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cloudburst.aws.client.price_list import read_prices
from cloudburst.aws.fargate.task_definition import account_of_arn, named_architecture
from cloudburst.cli.backend_options import BackendOptions, unknown_backend
from cloudburst.cli.output import format_duration, format_usd
from cloudburst.cli.result import RunRequest
from cloudburst.client.backends import burst, can_render_locally, fargate, local
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.plan import (
    Plan,
    PlanSet,
    WorkerKind,
    default_plan,
    enumerate_plans,
)
from cloudburst.engine.forecast.scene_work import scene_work, total_upload_size
from cloudburst.errors import ConfigurationError
from cloudburst.film.request import check_film, scenes_in_film
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models import performance as default_performance
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Performance
from cloudburst.models.prices import DEFAULT_REGION, PriceTable, extra_disk_gb
from cloudburst.models.scene import CheckedScene
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.outputs.history import read_history
from cloudburst.ports.backend import OpenBackend
from cloudburst.service.cpu import usable_cores
from cloudburst.workers.local import MODULES, missing_requirements
from cloudburst.workers.local.backend import choose_worker_counts

DEFAULT_MAX_TASKS = 16
"""Largest number of tasks at once in a plan, without ``--workers``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A kind of worker, and how many measurements its performance is based on."""

    worker_kind: WorkerKind
    kind_name: str
    """Name under which measurements of this kind of worker are kept."""
    starts: int
    """Number of start-ups measured on this machine; 0 if the start-up time is assumed."""
    encodes: int
    """Number of encodes measured on this machine; 0 if the encode time is assumed."""


class PlanData:
    """Measurements of earlier runs and prices, both read from this machine's files."""

    def __init__(self) -> None:
        self._samples = read_history()
        self.measurements = Measurements(self._samples)
        self.prices = read_prices()

    def local(self, *, workers: int | None) -> Candidate | None:
        """Return the candidate for local workers; ``None`` if this machine cannot render."""
        if not can_render_locally():
            return None
        cores = usable_cores()
        workers, slots = choose_worker_counts(workers, None, cores=cores)
        size = {"encoder_slots": workers * slots, "cores": cores}
        return self._candidate(
            default_performance.local_kind(**size),
            default_performance.local_performance(**size),
            backend="local",
            encoder_slots=slots,
            max_workers=workers,
        )

    def endpoints(self, addresses: Sequence[str], protocol: Protocol) -> Candidate:
        """Return the candidate for containers that already run at given addresses."""
        return self._candidate(
            default_performance.endpoints_kind(
                [address.rstrip("/") for address in addresses], protocol
            ),
            default_performance.endpoints_performance(protocol, encoder_slots=1),
            backend="endpoints",
            encoder_slots=1,
            max_workers=len(addresses),
        )

    def fargate(
        self, settings: Settings, *, tiers: Iterable[Tier], workers: int | None
    ) -> list[Candidate]:
        """Return a candidate for each tier."""
        region = settings.region or DEFAULT_REGION
        cloud = self._cloud(settings, region)
        protocol = self._protocol(settings, cloud)
        architecture = named_architecture(settings.task_definition)
        rates = self.prices.rates(region, architecture=architecture, capacity=settings.capacity)
        disk = extra_disk_gb(settings.ephemeral_storage) * rates.disk_gb
        return [
            self._candidate(
                self._kind(tier, protocol, architecture, cloud),
                default_performance.fargate_performance(tier, protocol),
                backend="fargate",
                tier=tier,
                encoder_slots=default_performance.fargate_encoder_slots(tier, protocol),
                max_workers=workers or DEFAULT_MAX_TASKS,
                usd_per_second=disk
                + rates.task_usd_per_second(tier, public_ipv4=settings.public_address),
            )
            for tier in tiers
        ]

    def _kind(
        self, tier: Tier, protocol: Protocol, architecture: str, cloud: default_performance.Cloud
    ) -> str:
        for kind in self._latest_kinds():
            if cloud.account_in(kind) is not None and kind.split()[2:4] == [protocol, architecture]:
                image = kind.split()[-1]
                return default_performance.fargate_kind(tier, protocol, architecture, cloud, image)
        return default_performance.fargate_kind(tier, protocol, architecture, cloud, "")

    def _cloud(self, settings: Settings, region: str) -> default_performance.Cloud:
        """Return the configured account and region.

        The role or the task definition may name the account. If they do not, it is the account of
        the latest run at the same endpoint and in the same region.
        """
        named = filter(
            None, map(account_of_arn, (settings.role_arn or "", settings.task_definition))
        )
        cloud = default_performance.Cloud.of(
            settings.endpoint_url, region=region, account=next(named, None)
        )
        if cloud.account is not None:
            return cloud
        latest = filter(None, map(cloud.account_in, self._latest_kinds()))
        return replace(cloud, account=next(latest, None))

    def _protocol(self, settings: Settings, cloud: default_performance.Cloud) -> Protocol:
        """Return the image's protocol, from the settings or the latest run.

        Only the task definition states it reliably, but reading it would need a call to AWS.
        """
        from cloudburst.aws.setup.resource_definitions import is_our_image  # noqa: PLC0415 - only plans need it

        if settings.protocol is not None:
            return settings.protocol
        for kind in self._latest_kinds():
            if cloud.account_in(kind) is not None and (protocol := kind.split()[2]) in set(
                Protocol
            ):
                return Protocol(protocol)
        return Protocol.NATIVE if is_our_image(settings.image) else Protocol.ONESTEP

    def _latest_kinds(self) -> Iterator[str]:
        return (sample.kind for sample in reversed(self._samples))

    def _candidate(
        self,
        kind: str,
        assumed: Performance,
        *,
        backend: str,
        encoder_slots: int,
        max_workers: int,
        tier: Tier | None = None,
        usd_per_second: Decimal = Decimal(),
    ) -> Candidate:
        measured = self.measurements.performance(kind, assumed)
        return Candidate(
            worker_kind=WorkerKind(
                backend=backend,
                tier=tier,
                performance=measured,
                encoder_slots=encoder_slots,
                max_workers=max_workers,
                usd_per_second=usd_per_second,
            ),
            kind_name=kind,
            starts=self.measurements.count(kind, "startup"),
            encodes=self.measurements.count(kind, "encode"),
        )


def price_note(table: PriceTable, settings: Settings) -> str:
    """Return a note if the prices are not those of the configured region, else an empty text."""
    region = settings.region or DEFAULT_REGION
    if table.has_region(region):
        return ""
    return f"the prices of {region} are not known: those of {DEFAULT_REGION} are used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen plan, the reason for the choice, and the alternatives."""

    plan: Plan
    reason: str
    fits: bool
    """True if the plan meets deadline and budget."""
    plans: PlanSet
    candidates: Sequence[Candidate]
    options: BackendOptions
    """Options by which the plan was chosen."""

    @property
    def tier(self) -> Tier:
        """Tier of the plan's tasks; STANDARD if the plan has no tasks."""
        paid = self.plan.paid_group
        return (paid and paid.kind.tier) or Tier.STANDARD


def choose(
    scenes: Sequence[CheckedScene],
    candidates: Sequence[Candidate],
    options: BackendOptions,
    *,
    default_candidates: Sequence[Candidate],
    limits: Limits,
) -> Choice:
    """Choose a plan by deadline and budget.

    With a deadline, the result is the cheapest plan within the budget that keeps it in nine of ten
    runs, or the one that keeps it most often. With
    only a budget, it is the fastest plan within the budget. With neither, it is the plan that a
    run follows by default. If no plan meets the conditions, it is the plan that comes closest.
    """
    works, size = [scene_work(scene) for scene in scenes], total_upload_size(scenes)
    kinds = [each.worker_kind for each in candidates]
    plans = enumerate_plans(works, kinds, bytes_to_send=size)
    deadline, budget = options.deadline, options.budget
    if deadline is not None:
        found = plans.cheapest(deadline=deadline, budget=budget)
        runs = found.runs_within(deadline) if found else 0
        reason = "the cheapest" if runs == 9 else "the surest"
        reason += f" within {format_duration(deadline)}"
        if budget is not None:
            reason += f" and {format_usd(budget)}"
        reason += f", kept in {'' if runs == 9 else 'about '}{runs} of 10 runs"
    elif budget is not None:
        found = plans.fastest(budget=budget)
        reason = f"the fastest within {format_usd(budget)}, even if everything is slow"
    else:
        found = default_plan(
            works,
            list(_default_kinds(default_candidates)),
            max_tasks=limits.workers,
            hour_usd=limits.hour_usd,
            bytes_to_send=size,
        )
        reason = "what cloudburst render does by default"
        if limits.hour_usd != Limits().hour_usd:
            reason = f"what cloudburst render does with --hour-usd {limits.hour_usd}"
    plan = found or plans.closest(deadline=deadline, budget=budget)
    return Choice(
        plan=plan,
        reason=reason,
        fits=found is not None,
        plans=plans,
        candidates=candidates,
        options=options,
    )


def _default_kinds(candidates: Sequence[Candidate]) -> Iterator[WorkerKind]:
    """Yield the kinds of workers that a run uses by default.

    If the candidates have several tiers, tasks of all tiers except STANDARD are left out.
    """
    kinds = [each.worker_kind for each in candidates]
    tiers = {kind.tier for kind in kinds if kind.tier}
    for kind in kinds:
        if kind.tier is None or len(tiers) == 1 or kind.tier is Tier.STANDARD:
            yield kind


def no_plan_text(choice: Choice) -> str:
    """Return a message that no plan meets deadline and budget, and which plan comes closest."""
    deadline, budget = choice.options.deadline, choice.options.budget
    limits = [f"finishes within {format_duration(deadline)}"] if deadline is not None else []
    if budget is not None:
        limits.append(f"is certain to cost at most {format_usd(budget)}")
    return f"no plan {' and '.join(limits)}; the closest: {plan_text(choice)}"


def apply_plan(
    request: RunRequest, backend: BackendOptions, settings: Settings, *, workers: int | None
) -> RunRequest:
    """Choose a plan for a requested run; return the request with the workers of this plan."""
    with open_remote_inputs(settings) as remote:
        given = request.options, request.limits
        film = None if request.film is None else check_film(request.film, *given, remote)
        checked = check_scenes(request.scenes, *given, remote=remote, film=film)
    if film is not None:
        checked = scenes_in_film(film, checked, None, all_known=True)
    candidates = find_candidates(PlanData(), backend, settings, workers=workers, everywhere=False)
    choice = choose(
        checked, candidates, backend, default_candidates=candidates, limits=request.limits
    )
    if not choice.fits:
        raise ConfigurationError(no_plan_text(choice))
    plan = choice.plan
    limits = replace(
        request.limits,
        workers=plan.tasks or request.limits.workers,
        # The engine starts a worker that costs more than it saves only to meet a deadline.
        deadline=plan.seconds,
        max_usd=backend.budget,
    )
    opener = request.backend
    if {group.kind.backend for group in plan.groups} != {"endpoints"}:
        opener = _backends_of(plan, backend.apply_to(settings), workers=workers)
    return replace(request, backend=opener, tier=choice.tier, limits=limits)


def _backends_of(plan: Plan, settings: Settings, *, workers: int | None) -> Sequence[OpenBackend]:
    """Return only the backends that a plan uses, so that no other backend is opened."""
    names = {group.kind.backend for group in plan.groups}
    if names == {"local"}:
        return [local(workers=workers)]
    return burst(settings) if "local" in names else [fargate(settings)]


def find_candidates(
    data: PlanData,
    options: BackendOptions,
    settings: Settings,
    *,
    workers: int | None,
    everywhere: bool,
) -> list[Candidate]:
    """Return the kinds of workers that a run can use; workers that cost nothing come first."""
    backend = options.backend
    if backend is not None and "://" in backend:
        return [data.endpoints(options.addresses(), options.protocol)]
    if backend is not None and backend not in {"local", "fargate", "burst"}:
        raise unknown_backend(backend)
    with_fargate = backend in {"fargate", "burst"}
    if backend is None:
        with_fargate = everywhere or bool(settings.subnets)
    found = list[Candidate]()
    # With Fargate, the number of workers is that of the tasks.
    here = data.local(workers=None if with_fargate else workers)
    if backend in {None, "local", "burst"} and here is not None:
        found.append(here)
    if with_fargate:
        tiers = sorted(Tier, key=lambda tier: tier.vcpu)
        if options.tier:
            tiers = [options.selected_tier()]
        found += data.fargate(options.apply_to(settings), tiers=tiers, workers=workers)
    if not found:
        raise ConfigurationError(f"this machine cannot render: {missing_requirements(*MODULES)}")
    return found


def plan_text(choice: Choice) -> str:
    """Return the chosen plan in words: ``$0.0031, 4 min 10 s: 2 × STANDARD + here``."""
    plan = choice.plan
    price = format_usd(plan.usd) if plan.paid_group else "free"
    return f"{price}, {format_duration(plan.seconds)}: {workers_text(plan, choice.options)}"


def next_step_text(choice: Choice) -> str | None:
    """Return what the next faster plan costs and saves, and its price for an hour, in words.

    Return ``None`` if no plan is faster than the chosen one.
    """
    plan, step = choice.plan, choice.plans.next_step(choice.plan)
    if step is None:
        return None
    saved, extra = plan.seconds - step.seconds, step.usd - plan.usd
    sooner = f"{workers_text(step, choice.options)} is done {format_duration(saved)} sooner"
    if extra <= 0:
        return f"{sooner} and is not more expensive"
    hour = extra * 3600 / Decimal(saved)
    return f"{sooner} for {format_usd(extra)} more, which is {format_usd(hour)} for an hour"


def workers_text(plan: Plan, options: BackendOptions) -> str:
    """Return the workers of a plan: ``2 × STANDARD + here``. Those with a price come first."""
    texts: list[str] = []
    for group in sorted(plan.groups, key=lambda group: not group.kind.usd_per_second):
        tier = group.kind.tier
        name = f"{tier.name}{' Spot' if options.spot else ''}" if tier else "container"
        texts.append("here" if group.kind.backend == "local" else f"{group.count} × {name}")
    return " + ".join(texts)


def total_vcpu(plan: Plan) -> int:
    """Return the number of vCPUs of all tasks of a plan together."""
    paid = plan.paid_group
    return plan.tasks * (paid.kind.tier.vcpu if paid and paid.kind.tier else 0)
