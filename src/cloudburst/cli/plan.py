"""``cloudburst plan``: forecasts the time and cost of a run without starting anything."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.client.price_list import read_prices
from cloudburst.aws.setup.check_caller import read_vcpu_quota
from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.look_options import HiddenLooks, LookOptions
from cloudburst.cli.options import RUN, FilmFlags, WholeNumber, scenes_of
from cloudburst.cli.output import print_output, write_json
from cloudburst.cli.render import film_arguments
from cloudburst.cli.result import RunRequest
from cloudburst.client import planning
from cloudburst.client.backends import OpenEndpoints, OpenFargate, OpenLocal, backend_list
from cloudburst.client.planning import Choice, PlanResult, price_note
from cloudburst.display.language import say
from cloudburst.display.terminal_texts import plain_table
from cloudburst.display.texts import estimated_usd, format_duration, format_limit, pluralize
from cloudburst.engine.failure_groups import warnings_of
from cloudburst.engine.forecast.plan import Plan
from cloudburst.errors import CloudburstError, ConfigurationError, InvalidScenesError
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models.limits import Limits
from cloudburst.models.settings import Settings
from cloudburst.models.tier import NEW_ACCOUNT_VCPU
from cloudburst.ports.backend import OpenBackend
from cloudburst.text import list_some
from cloudburst.workers.local import MODULES, missing_requirements

logger = logging.getLogger(__name__)

# Seconds for which a run with a budget or a deadline waits for the account's quota.
_QUOTA_TIMEOUT = 10.0
_PLACES = {"local": "this machine", "fargate": "tasks", "endpoints": "the containers"}
_BACKENDS = {"local": OpenLocal, "fargate": OpenFargate, "endpoints": OpenEndpoints}


def plan_command(
    scenes: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    backend: BackendOptions | None = None,
    video: HiddenLooks = None,
    film: Annotated[FilmFlags | None, Parameter(show=False)] = None,
    workers: Annotated[WholeNumber | None, Parameter(validator=Number(gte=1), group=RUN)] = None,
    json: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
) -> int:
    """Predict how long rendering would take and what it would cost. Starts nothing.

    Without --backend, plans for this machine and for Fargate are compared, whether or not an AWS
    account is set up. The chosen plan comes first: the cheapest one that keeps --deadline in nine
    of ten runs, or the fastest one within --budget. The table lists every plan that no other plan
    beats in both time and cost. Options for the look and the film are accepted as by render.

    $ cloudburst plan folder/
    $ cloudburst plan scenes.json --deadline 10m

    Parameters
    ----------
    scenes
        Files or folders of scenes, as for render.
    workers
        Largest number of tasks to consider. Default: 16.
    json
        Print the scenes and plans as one line of JSON.
    """
    settings, backend = Settings(), backend or BackendOptions()
    options = (video or LookOptions()).options()
    limits = backend.limits(Limits() if workers is None else Limits(workers=workers))
    with open_remote_inputs(settings) as remote:
        found = scenes_of(scenes, options, remote)
    result, choice = _choose(
        found,
        backend,
        settings,
        backend=_compared(backend, settings, workers=workers),
        options=options,
        limits=limits,
        workers=workers,
        **asdict(film or FilmFlags()),
    )
    if json:
        write_json(_to_json(result, choice))
    else:
        notes = [price_note(read_prices(), settings)]
        if not settings.subnets and any(plan.tasks for plan in choice.others):
            notes.append(say("Fargate needs an AWS account, which is set up by: cloudburst init"))
        for warning, names in warnings_of(result.scenes).items():
            notes.append(f"{list_some(names)}: {warning}")
        print_output(*plan_lines(choice, filter(None, notes)))
    return 0 if choice.fits else 2


def apply_plan(
    request: RunRequest, backend: BackendOptions, settings: Settings, *, workers: int | None
) -> RunRequest:
    """Choose a plan for a requested run; return the request with the workers of this plan.

    Without --tier, its tasks need no more vCPUs than the account may use at once.
    """
    backends = backend_list(request.backend)
    accounts = [each for each in backends if isinstance(each, OpenFargate)]
    bounded = accounts and backend.tier is None
    vcpu = anyio.run(_vcpu_quota, accounts[0]) if bounded else math.inf
    _, choice = _choose(
        request.scenes,
        backend,
        settings,
        backend=backends,
        options=request.options,
        limits=request.limits,
        workers=workers,
        vcpu=vcpu,
        **film_arguments(request.film),
    )
    if not choice.fits:
        raise ConfigurationError(no_plan_text(choice))
    plan = choice.plan
    # Only the backends that the plan uses, so that no other one is opened.
    used = tuple({_BACKENDS[group.kind.backend] for group in plan.groups})
    limits = replace(
        request.limits,
        workers=plan.tasks or request.limits.workers,
        # The engine starts a worker that costs more than it saves only to meet a deadline.
        deadline=plan.seconds,
    )
    opener = [backend for backend in backends if isinstance(backend, used)]
    return replace(request, backend=opener, tier=choice.tier, limits=limits)


async def _vcpu_quota(backend: OpenFargate) -> float:
    """Return the vCPU quota of an account; that of a new account if it cannot be read."""
    settings = backend.settings
    try:
        with anyio.fail_after(_QUOTA_TIMEOUT):
            async with open_aws(settings, session=backend.session) as aws:
                return await read_vcpu_quota(aws, settings.capacity)
    except (CloudburstError, TimeoutError) as exc:
        msg = "planned for the %s vCPU of a new account, because its quota is not known: %s"
        logger.warning(msg, NEW_ACCOUNT_VCPU, str(exc) or "no answer")
        return NEW_ACCOUNT_VCPU


def _choose(
    scenes: Sequence[Mapping[str, Any]],
    options: BackendOptions,
    settings: Settings,
    /,
    *,
    limits: Limits,
    **how: Any,
) -> tuple[PlanResult, Choice]:
    tier = None if options.tier is None else options.selected_tier()
    limits = replace(limits, deadline=options.deadline)
    settings = options.apply_to(settings)
    make = partial(planning.plan, scenes, tier=tier, limits=limits, settings=settings, **how)
    result = anyio.run(make)
    if result.faults:
        raise InvalidScenesError(faults=result.faults)
    if result.choice is None:
        raise ConfigurationError(f"this machine cannot render: {missing_requirements(*MODULES)}")
    return result, result.choice


def _compared(
    options: BackendOptions, settings: Settings, *, workers: int | None
) -> OpenBackend | Sequence[OpenBackend] | None:
    """Return the backends whose plans are compared; Fargate needs no subnet for a plan."""
    here, cloud = OpenLocal(), OpenFargate(options.apply_to(settings))
    match options.backend:
        case None:
            return None
        case "burst":
            return [here, cloud]
        case "fargate":
            return cloud
        case _:
            return options.open_backend(settings, workers=workers)


def plan_lines(choice: Choice, notes: Iterable[str]) -> Iterator[RenderableType]:
    """Yield the chosen plan, a table of all plans, and notes about prices and the account."""
    listed = choice.listed(*choice.others)
    yield from _chosen(choice)
    if len(listed) > 1:
        yield Text()
        yield _table(choice, listed)
        yield Text()
    kinds = [group.kind for plan in listed for group in plan.groups]
    assumed = {kind.backend for kind in kinds if "encode" not in kind.performance.measured}
    if names := [say(_PLACES[backend]) for backend in sorted(assumed, reverse=True)]:
        line = "The speed of {} is assumed, until a run measures it."
        yield Text(say(line, say(" and ").join(names)), "dim")
    for note in notes:
        yield Text(note, "yellow")


def _chosen(choice: Choice) -> Iterator[Text]:
    plan = choice.plan
    audio = format_duration(sum(scene.audio_seconds for scene in choice.scenes))
    yield Text(say("{}, {} of audio", pluralize(len(choice.scenes), "scene"), audio), "dim")
    if choice.fits:
        reason = say(" ({})", reason_text(choice))
        yield Text.assemble((plan_text(choice), "bold"), reason)
    else:
        message = no_plan_text(choice)
        yield Text(message[0].upper() + message[1:], "red")
    yield Text(_range_text(plan))
    if (step := next_step_text(choice)) is not None:
        yield Text(say("Next step: {}.", step))
    paid = plan.paid_group
    vcpu = plan.tasks * (paid.kind.tier.vcpu if paid and paid.kind.tier else 0)
    if vcpu > NEW_ACCOUNT_VCPU:
        note = "The plan needs {} vCPU at once; a new account has {}."
        yield Text(say(note, vcpu, NEW_ACCOUNT_VCPU), "yellow")


def _table(choice: Choice, listed: Iterable[Plan]) -> Table:
    table = plain_table()
    table.add_column("", width=1)
    for name in ("time", "up to", "cost", "up to"):
        table.add_column(say(name), justify="right", no_wrap=True)
    table.add_column(say("workers"), overflow="fold")
    for plan in listed:
        chosen = plan == choice.plan
        table.add_row(
            "▸" if chosen else "",
            format_duration(plan.seconds),
            format_duration(plan.seconds_high),
            estimated_usd(plan.usd) if plan.tasks else say("free"),
            estimated_usd(plan.usd_high) if plan.tasks else "",
            workers_text(plan, choice),
            style="bold" if chosen else "",
        )
    return table


def _range_text(plan: Plan) -> str:
    low, high = map(format_duration, (plan.seconds_low, plan.seconds_high))
    time = low if low == high else say("{} to {}", low, high)
    if not plan.paid_group or plan.usd_low == plan.usd_high:
        return say("Eight of ten runs take {}.", time)
    price = say("{} to {}", estimated_usd(plan.usd_low), estimated_usd(plan.usd_high))
    return say("Eight of ten runs take {} and cost {}.", time, price)


def _to_json(result: PlanResult, choice: Choice) -> dict[str, Any]:
    scenes, plans = (
        [each.model_dump(mode="json") for each in part] for part in (result.scenes, result.plans)
    )
    facts = {"type": "plan", "fits": choice.fits, "film_seconds": result.film_seconds}
    return facts | {"scenes": scenes, "plans": plans}


def reason_text(choice: Choice) -> str:
    """Return why the plan was chosen, or should have been, in words."""
    deadline, budget, hour = choice.limits.deadline, choice.limits.max_usd, choice.limits.hour_usd
    if deadline is not None:
        runs = choice.plan.runs_within(deadline) if choice.fits else 0
        most = format_duration(deadline)
        if budget is not None:
            most = say("{} and {}", most, format_limit(budget))
        if runs == 9:
            return say("the cheapest within {}, kept in 9 of 10 runs", most)
        return say("the surest within {}, kept in about {} of 10 runs", most, runs)
    if budget is not None:
        return say("the fastest within {}, even if everything is slow", format_limit(budget))
    if hour != Limits().hour_usd:
        return say("what cloudburst render does with --hour-usd {}", hour)
    return say("what cloudburst render does by default")


def no_plan_text(choice: Choice) -> str:
    """Return a message that no plan meets deadline and budget, and which plan comes closest."""
    deadline, budget = choice.limits.deadline, choice.limits.max_usd
    limits: list[str] = []
    if deadline is not None:
        limits.append(say("finishes within {}", format_duration(deadline)))
    if budget is not None:
        limits.append(say("is certain to cost at most {}", format_limit(budget)))
    return say("no plan {}; the closest: {}", say(" and ").join(limits), plan_text(choice))


def plan_text(choice: Choice) -> str:
    """Return the chosen plan in words: ``$0.0031, 4 min 10 s: 2 × STANDARD + this machine``."""
    plan = choice.plan
    price = estimated_usd(plan.usd) if plan.paid_group else say("free")
    return say("{}, {}: {}", price, format_duration(plan.seconds), workers_text(plan, choice))


def next_step_text(choice: Choice) -> str | None:
    """Return what the next faster plan costs and saves, and its price for an hour, in words.

    Return ``None`` if no plan is faster than the chosen one.
    """
    plan, step = choice.plan, choice.plans.next_step(choice.plan)
    if step is None:
        return None
    saved, extra = plan.seconds - step.seconds, step.usd - plan.usd
    sooner = say("{} is done {} sooner", workers_text(step, choice), format_duration(saved))
    if extra <= 0:
        return say("{} and is not more expensive", sooner)
    hour = estimated_usd(extra * 3600 / Decimal(saved))
    price = estimated_usd(extra)
    return say("{} for {} more, which is {} for an hour", sooner, price, hour)


def workers_text(plan: Plan, choice: Choice) -> str:
    """Return the workers of a plan, those with a price first: ``2 × STANDARD + this machine``."""
    texts: list[str] = []
    for group in sorted(plan.groups, key=lambda group: not group.kind.usd_per_second):
        tier = group.kind.tier
        name = f"{tier.name}{' Spot' if choice.spot else ''}" if tier else say("container")
        here = group.kind.backend == "local"
        texts.append(say(_PLACES["local"]) if here else f"{group.count} × {name}")
    return " + ".join(texts)
