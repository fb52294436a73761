"""Plans of runs: how long rendering would take and what it would cost. Nothing is started."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict

from cloudburst.aws.client.price_list import read_prices
from cloudburst.client.backends import (
    SPOT,
    OpenEndpoints,
    OpenFargate,
    OpenLocal,
    backend_list,
    can_render_locally,
)
from cloudburst.client.run_inputs import name_of
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.plan import (
    Plan,
    PlanSet,
    WorkerKind,
    default_plan,
    enumerate_plans,
)
from cloudburst.engine.forecast.scene_work import scene_work, total_upload_size
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.film.request import check_scenes_and_film, check_scenes_of_film, film_request
from cloudburst.inputs.remote_inputs import RemoteInputs, open_remote_inputs
from cloudburst.media.subtitles import late_cues
from cloudburst.models import performance as default_performance
from cloudburst.models.film import FilmOptions, FilmRequest
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions, given_options
from cloudburst.models.performance import Performance
from cloudburst.models.prices import DEFAULT_REGION, PriceTable, extra_disk_gb
from cloudburst.models.report import Usd
from cloudburst.models.scene import AnyScene, CheckedScene
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.outputs.history import read_history
from cloudburst.ports.backend import OpenBackend
from cloudburst.service.cpu import usable_cores

DEFAULT_MAX_TASKS = 16
"""Largest number of tasks at once in a plan, unless the caller names another one."""
MAX_PLANS = 8
"""Maximum number of plans in a result."""
_PLACE = re.compile(r"scenes\[(\d+)\]")
_T = TypeVar("_T")
_Scene = TypeVar("_Scene")


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class PlannedScene(_Result):
    """Scene of a plan."""

    scene: str
    """Name of the scene."""
    seconds: float
    """Length of its video, in seconds."""
    warnings: tuple[str, ...]
    """What the plan assumes about the scene, and what its video will lack."""


class PlannedRun(_Result):
    """Forecast of a run with given workers."""

    place: Literal["machine", "fargate", "both", "endpoints"]
    """Place of the workers; both: on this machine and on Fargate."""
    tier: str | None
    """Name of the size of each task; null without tasks on Fargate."""
    workers: int
    """Number of tasks; without tasks, the number of scenes that are encoded at once."""
    spot: bool
    """True for tasks on Fargate Spot."""
    seconds: float
    """Expected time until the last video is there, in seconds."""
    seconds_low: float
    """Time in the best case, which one run in ten reaches."""
    seconds_high: float
    """Time in the worst case, which nine runs in ten keep."""
    usd: Usd
    """Expected bill, in USD."""
    usd_low: Usd
    """Bill in the best case."""
    usd_high: Usd
    """Bill in the worst case."""
    measured: bool
    """True if earlier runs have measured these workers; otherwise the figures are assumed."""
    chosen: bool
    """True for the plan that is proposed: the cheapest one that keeps the deadline in nine of ten
    runs, the fastest one within the budget, what a run does by itself without these limits, or, if
    no plan keeps them, the one that comes closest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """Forecast of a run. Scenes with faults are left out."""

    scenes: tuple[PlannedScene, ...] = ()
    """Scenes without faults, in their order."""
    faults: tuple[SceneFault, ...] = ()
    """Problems of the other scenes, of the options and of the film."""
    plans: tuple[PlannedRun, ...] = ()
    """Plans for the scenes without faults, at most eight, the slowest first: the proposed one, the
    best one at each place, and plans that no other plan beats in both time and cost."""
    film_seconds: float | None = None
    """Length of the film, in seconds; ``None`` if none is requested."""
    choice: Choice | None = field(default=None, repr=False)
    """The proposed plan and all others, with the figures behind them."""


async def plan(
    scenes: Iterable[AnyScene],
    *,
    backend: OpenBackend | Sequence[OpenBackend] | None = None,
    options: RenderOptions | None = None,
    tier: Tier | None = None,
    workers: int | None = None,
    vcpu: float = math.inf,
    limits: Limits | None = None,
    settings: Settings | None = None,
    **film: Unpack[FilmOptions],
) -> PlanResult:
    """Predict how long rendering the scenes would take, and what it would cost.

    Nothing is started, and AWS is not called, except for reading scenes that are in S3. Prices and
    the speed of workers are those of the price list and of earlier runs on this machine.

    Args:
        scenes: Scenes, as for `Client.render_all`.
        backend: Backends whose plans are compared, as for `Client`; ``None``: this machine and
            Fargate, whether or not an account is set up. Other backends than `local`, `fargate` and
            `endpoints` have no plans. Without a configured subnet, deadline and budget, a plan for
            this machine is proposed.
        options: Appearance of the videos.
        tier: Size of each task; ``None``: all sizes are compared.
        workers: Maximum number of tasks; ``None``: 16.
        vcpu: Maximum number of vCPUs of all tasks, such as the quota of the account.
        limits: Limits of the run: ``deadline`` and ``max_usd`` bound the proposed plan.
        settings: Settings of the account; ``None``: those of the environment and ``.env``.
        film: Film of the videos: see `FilmOptions`.

    Raises:
        InvalidScenesError: Options of the film are invalid. Other faults are in the result.
        ConfigurationError: A file of the film has no valid place.
    """
    settings, limits = settings or Settings(), limits or Limits()
    without_tasks = backend is None and not settings.subnets
    compared = backend_list(backend or [OpenLocal(), OpenFargate(settings)])
    look, request = given_options(options, RenderOptions()), film_request(**film)
    listed, remote = [*scenes], open_remote_inputs(settings)

    def predict() -> PlanResult:
        data, tiers = PlanData(), [*Tier] if tier is None else [tier]
        candidates = data.candidates(compared, tiers=tiers, workers=workers, vcpu=vcpu)
        free = [each for each in candidates if not each.worker_kind.usd_per_second]
        usual = free if free and without_tasks else candidates
        # The public image takes characters that no font has from other fonts.
        draws = not candidates or any(each.has_own_renderer for each in candidates)
        check = partial(_check, options=look, limits=limits, film=request, remote=remote)
        check = partial(check, draws=draws)
        found, faults = check_possible(listed, check)
        if found is None:
            return PlanResult(faults=tuple(faults))
        checked, film = found
        choice = _choose_everywhere(checked, candidates, usual, limits)
        return PlanResult(
            scenes=tuple(map(_planned_scene, checked)),
            faults=tuple(faults),
            plans=choice.planned_runs() if choice else (),
            film_seconds=None if film is None else _film_seconds(film, checked),
            choice=choice,
        )

    return await remote.call_in_thread(predict)


def check_possible(
    scenes: Sequence[_Scene], check: Callable[[Sequence[_Scene]], _T]
) -> tuple[_T | None, list[SceneFault]]:
    """Return the result of a check of the scenes without faults, and the faults of the others.

    The result is ``None`` if no scene is left, or if something else than scenes has faults.
    """
    places, faults = list(range(len(scenes))), list[SceneFault]()
    while True:
        try:
            return check([scenes[place] for place in places]), faults
        except InvalidScenesError as exc:
            found = [_at_its_place(fault, places) for fault in exc.faults]
        faults += found
        bad = {fault.scene for fault in found}
        left = [
            place
            for place in places
            if bad.isdisjoint([name_of(scenes[place]), f"scenes[{place}]"])
        ]
        if not left or left == places:
            return None, faults
        places = left


def _at_its_place(fault: SceneFault, places: Sequence[int]) -> SceneFault:
    match = _PLACE.fullmatch(fault.scene)
    return fault._replace(scene=f"scenes[{places[int(match[1])]}]") if match else fault


def _check(
    scenes: Sequence[AnyScene],
    *,
    options: RenderOptions,
    limits: Limits,
    film: FilmRequest | None,
    remote: RemoteInputs,
    draws: bool,
) -> tuple[tuple[CheckedScene, ...], FilmRequest | None]:
    checked, film = check_scenes_and_film(scenes, options, limits, remote=remote, film=film)
    if draws and (faults := dict.fromkeys(f for scene in checked for f in scene.undrawable)):
        raise InvalidScenesError(faults=list(faults))
    if film is not None:
        check_scenes_of_film(film, checked, lambda name: Path("videos", name).absolute())
    return checked, film


def _planned_scene(checked: CheckedScene) -> PlannedScene:
    warnings = [f"{fault.field}: {fault.found}" for fault in checked.undrawable]
    warnings += checked.notes
    if not checked.audio_known:
        warnings.append("audio: its length is estimated; only decoding the whole file shows it")
    elif note := late_cues(checked.cue_starts, checked.audio_seconds):
        warnings.append(f"subtitle: {note}")
    name, seconds = checked.scene.name, round(checked.audio_seconds, 3)
    return PlannedScene(scene=name, seconds=seconds, warnings=tuple(warnings))


def _film_seconds(film: FilmRequest, scenes: Sequence[CheckedScene]) -> float:
    from cloudburst.film.timeline import Timeline  # noqa: PLC0415 - loads av

    fps = scenes[0].options.fps
    timeline = Timeline(
        [round(scene.audio_seconds * fps) for scene in scenes],
        Fraction(fps),
        [scene.scene.transition or film.transition for scene in scenes[:-1]],
        film.transition_seconds,
        film.film_gap,
    )
    return timeline.seconds(timeline.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A kind of worker, whose performance is measured or assumed."""

    worker_kind: WorkerKind
    kind_name: str
    """Name under which measurements of this kind of worker are kept."""
    spot: bool = False
    """True for tasks on Fargate Spot."""

    @property
    def has_own_renderer(self) -> bool:
        """False for workers with the public image."""
        return Protocol.ONESTEP not in self.kind_name.split()


class PlanData:
    """Measurements of earlier runs and prices, both read from this machine's files."""

    def __init__(self) -> None:
        self._samples = read_history()
        self.measurements = Measurements(self._samples)
        self.prices = read_prices()

    def candidates(
        self,
        backends: Iterable[object],
        *,
        tiers: Iterable[Tier],
        workers: int | None,
        vcpu: float = math.inf,
    ) -> list[Candidate]:
        """Return the kinds of workers of these backends; those that cost nothing come first.

        ``workers`` is the maximum number of tasks, and ``vcpu`` that of their vCPUs. Backends of
        other kinds, and this machine if it cannot render, have no candidate.
        """
        found = list[Candidate]()
        for backend in backends:
            match backend:
                case OpenLocal(workers=processes, encoders=encoders) if can_render_locally():
                    found.append(self.local(workers=processes, encoders=encoders))
                case OpenFargate(settings=settings):
                    found += self.fargate(settings, tiers=tiers, workers=workers, vcpu=vcpu)
                case OpenEndpoints():
                    found.append(self.endpoints(backend))
                case _:
                    pass
        return sorted(found, key=lambda each: each.worker_kind.usd_per_second > 0)

    def local(self, *, workers: int | None, encoders: int | None = None) -> Candidate:
        """Return the candidate for local workers."""
        from cloudburst.workers.local.backend import choose_worker_counts  # noqa: PLC0415 - loads av

        cores = usable_cores()
        workers, slots = choose_worker_counts(workers, encoders, cores=cores)
        size = {"encoder_slots": workers * slots, "cores": cores}
        return self._candidate(
            default_performance.local_kind(**size),
            default_performance.local_performance(**size),
            backend="local",
            encoder_slots=slots,
            max_workers=workers,
        )

    def endpoints(self, backend: OpenEndpoints) -> Candidate:
        """Return the candidate for containers that already run."""
        addresses = [address.rstrip("/") for address in backend.addresses]
        slots = backend.encoders
        return self._candidate(
            default_performance.endpoints_kind(addresses, backend.protocol),
            default_performance.endpoints_performance(backend.protocol, encoder_slots=slots),
            backend="endpoints",
            encoder_slots=slots,
            max_workers=len(addresses),
        )

    def fargate(
        self,
        settings: Settings,
        *,
        tiers: Iterable[Tier],
        workers: int | None,
        vcpu: float = math.inf,
    ) -> list[Candidate]:
        """Return a candidate for each tier that the quota allows, or for the smallest one."""
        # It loads the AWS libraries.
        from cloudburst.aws.fargate.task_definition import named_architecture  # noqa: PLC0415

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
                max_workers=int(min(workers or DEFAULT_MAX_TASKS, max(1, vcpu / tier.vcpu))),
                usd_per_second=disk
                + rates.task_usd_per_second(tier, public_ipv4=settings.public_address),
                spot=settings.capacity == SPOT,
            )
            for number, tier in enumerate(sorted(tiers, key=lambda tier: tier.vcpu))
            if tier.vcpu <= vcpu or number == 0
        ]

    def _kind(
        self, tier: Tier, protocol: Protocol, architecture: str, cloud: default_performance.Cloud
    ) -> str:
        latest = (kind[-1] for kind in self._latest(cloud) if kind[2:4] == [protocol, architecture])
        image = next(latest, "")
        return default_performance.fargate_kind(tier, protocol, architecture, cloud, image)

    def _cloud(self, settings: Settings, region: str) -> default_performance.Cloud:
        """Return the configured account and region.

        The role or the task definition may name the account. If they do not, it is the account of
        the latest run at the same endpoint and in the same region.
        """
        from cloudburst.aws.fargate.task_definition import account_of_arn  # noqa: PLC0415 - as above

        named = filter(
            None, map(account_of_arn, (settings.role_arn or "", settings.task_definition))
        )
        cloud = default_performance.Cloud.of(
            settings.endpoint_url, region=region, account=next(named, None)
        )
        if cloud.account is not None:
            return cloud
        kinds = (sample.kind for sample in reversed(self._samples))
        return replace(cloud, account=next(filter(None, map(cloud.account_in, kinds)), None))

    def _protocol(self, settings: Settings, cloud: default_performance.Cloud) -> Protocol:
        """Return the image's protocol, from the settings or the latest run.

        Only the task definition states it reliably, but reading it would need a call to AWS.
        """
        from cloudburst.aws.setup.resource_definitions import is_our_image  # noqa: PLC0415 - only plans need it

        if settings.protocol is not None:
            return settings.protocol
        for kind in self._latest(cloud):
            if kind[2] in set(Protocol):
                return Protocol(kind[2])
        return Protocol.NATIVE if is_our_image(settings.image) else Protocol.ONESTEP

    def _latest(self, cloud: default_performance.Cloud) -> Iterator[list[str]]:
        """Yield the words of the kinds of tasks in an account and region, the latest one first."""
        for sample in reversed(self._samples):
            if cloud.account_in(sample.kind) is not None:
                yield sample.kind.split()

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
        spot: bool = False,
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
            spot=spot,
        )


def price_note(table: PriceTable, settings: Settings) -> str:
    """Return a note if the prices are not those of the configured region, else an empty text."""
    region = settings.region or DEFAULT_REGION
    if table.has_region(region):
        return ""
    return f"the prices of {region} are not known: those of {DEFAULT_REGION} are used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen plan, and the alternatives."""

    plan: Plan
    fits: bool
    """True if the plan meets deadline and budget."""
    plans: PlanSet
    scenes: Sequence[CheckedScene]
    candidates: Sequence[Candidate]
    limits: Limits
    """Limits by which the plan was chosen."""
    others: Sequence[Plan] = ()
    """The best plan at each place, if there are several."""

    @property
    def spot(self) -> bool:
        """True if tasks are on Fargate Spot."""
        return any(each.spot for each in self.candidates)

    @property
    def tier(self) -> Tier:
        """Tier of the plan's tasks; STANDARD if the plan has no tasks."""
        paid = self.plan.paid_group
        return (paid and paid.kind.tier) or Tier.STANDARD

    def listed(self, *others: Plan) -> list[Plan]:
        """Return the plan, the others, and Pareto-optimal plans, at most eight, slowest first."""
        kept = {self.plan, *others}
        more = [plan for plan in self.plans.frontier if plan not in kept]
        if len(more) > (room := MAX_PLANS - len(kept)):
            step = (len(more) - 1) / (room - 1)
            more = [more[round(number * step)] for number in range(room)]
        return sorted({*kept, *more}, key=lambda plan: (-plan.seconds, plan.usd))

    def planned_runs(self) -> tuple[PlannedRun, ...]:
        """Return the descriptions of the listed plans for callers."""
        return tuple(map(self._planned_run, self.listed(*self.others)))

    def _planned_run(self, plan: Plan) -> PlannedRun:
        kinds = [group.kind for group in plan.groups]
        places: list[Any] = [
            "machine" if kind.backend == "local" else kind.backend for kind in kinds
        ]
        tier = next((kind.tier.name for kind in kinds if kind.tier), None)
        slots = sum(group.count * group.kind.encoder_slots for group in plan.groups)
        facts: dict[str, Any] = {name: getattr(plan, name) for name in _FIGURES}
        return PlannedRun(
            place=places[0] if len(places) == 1 else "both",
            tier=tier,
            workers=plan.tasks or slots,
            spot=self.spot and tier is not None,
            measured=all("encode" in kind.performance.measured for kind in kinds),
            chosen=plan == self.plan,
            **facts,
        )


_FIGURES = ("seconds", "seconds_low", "seconds_high", "usd", "usd_low", "usd_high")


def _choose_everywhere(
    scenes: Sequence[CheckedScene],
    candidates: Sequence[Candidate],
    usual: Sequence[Candidate],
    limits: Limits,
) -> Choice | None:
    """Return the choice among all candidates, with the best plan at each place."""
    free = [each for each in candidates if not each.worker_kind.usd_per_second]
    billed = candidates[len(free) :]
    if not candidates:
        return None
    places = [free, billed, candidates] if free and billed else []
    best = [choose(scenes, each, default_candidates=each, limits=limits).plan for each in places]
    choice = choose(scenes, candidates, default_candidates=usual, limits=limits)
    return replace(choice, others=best)


def choose(
    scenes: Sequence[CheckedScene],
    candidates: Sequence[Candidate],
    *,
    default_candidates: Sequence[Candidate],
    limits: Limits,
) -> Choice:
    """Choose a plan by the deadline and the budget of the limits.

    With a deadline, the result is the cheapest plan within the budget that keeps it in nine of ten
    runs, or the one that keeps it most often. With only a budget, it is the fastest plan within the
    budget. With neither, it is the plan that a run follows by default. If no plan meets the
    conditions, it is the plan that comes closest.
    """
    works, size = [scene_work(scene) for scene in scenes], total_upload_size(scenes)
    kinds = [each.worker_kind for each in candidates]
    plans = enumerate_plans(works, kinds, bytes_to_send=size)
    deadline, budget = limits.deadline, limits.max_usd
    if deadline is not None:
        found = plans.cheapest(deadline=deadline, budget=budget)
    elif budget is not None:
        found = plans.fastest(budget=budget)
    else:
        found = default_plan(
            works,
            _default_kinds(default_candidates),
            max_tasks=limits.workers,
            hour_usd=limits.hour_usd,
            bytes_to_send=size,
        )
    return Choice(
        plan=found or plans.closest(deadline=deadline, budget=budget),
        fits=found is not None,
        plans=plans,
        scenes=scenes,
        candidates=candidates,
        limits=limits,
    )


def _default_kinds(candidates: Sequence[Candidate]) -> Sequence[WorkerKind]:
    """Return the kinds of workers that a run uses by default.

    If the candidates have several tiers, tasks of all tiers except STANDARD are left out.
    """
    kinds = [each.worker_kind for each in candidates]
    tiers = {kind.tier for kind in kinds if kind.tier}
    usual = {None, Tier.STANDARD} if len(tiers) > 1 else {None, *tiers}
    return [kind for kind in kinds if kind.tier in usual]
