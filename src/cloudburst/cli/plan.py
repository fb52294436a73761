"""``cloudburst plan``: forecasts the time and cost of a run without starting anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.look_options import LookOptions
from cloudburst.cli.options import RUN, FilmFlags, scenes_of
from cloudburst.cli.output import (
    format_duration,
    format_usd,
    plain_table,
    pluralize,
    print_output,
    write_line,
)
from cloudburst.cli.plan_choice import (
    Candidate,
    Choice,
    PlanData,
    choose,
    find_candidates,
    next_step_text,
    no_plan_text,
    plan_text,
    price_note,
    total_vcpu,
    workers_text,
)
from cloudburst.engine.forecast.plan import Plan
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.film.request import check_film
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models.limits import Limits
from cloudburst.models.scene import CheckedScene
from cloudburst.models.settings import Settings
from cloudburst.models.tier import NEW_ACCOUNT_VCPU

MAX_ROWS = 8
EXAMPLE_SECONDS = 10.0
"""Length of the example scene whose encode time is printed, in seconds of audio."""


def plan_command(
    scenes: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    backend: BackendOptions | None = None,
    video: LookOptions | None = None,
    film: FilmFlags | None = None,
    workers: Annotated[int | None, Parameter(validator=Number(gte=1), group=RUN)] = None,
    json: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
) -> int:
    """Predict how long rendering would take and what it would cost. Starts nothing.

    Without --backend, plans for this machine and for Fargate are compared, whether or not an AWS
    account is set up. The chosen plan comes first: the cheapest one that keeps --deadline in nine
    of ten runs, or the fastest one within --budget. The table lists every plan that no other plan
    beats in both time and cost.

    Parameters
    ----------
    scenes
        Files or folders of scenes, as for render.
    workers
        Largest number of tasks to consider. Default: 16.
    json
        Print the plan as one line of JSON.
    """
    settings, backend = Settings(), backend or BackendOptions()
    options, limits = (video or LookOptions()).options(), Limits()
    request = None if film is None else film.request()
    with open_remote_inputs(settings) as remote:
        found = scenes_of(scenes, options, remote)
        if request is not None:
            request = check_film(request, options, limits, remote)
        checked = check_scenes(found, options, limits, remote=remote, film=request)
    data = PlanData()
    everywhere, configured = (
        find_candidates(data, backend, settings, workers=workers, everywhere=each)
        for each in (True, False)
    )
    choice = choose(
        checked,
        everywhere,
        backend,
        default_candidates=configured,
        limits=backend.limits(Limits() if workers is None else Limits(workers=workers)),
    )
    view = PlanView(choice, checked, price_note(data.prices, settings))
    if json:
        write_line(view.json())
    else:
        print_output(view)
    return 0 if choice.fits else 2


@dataclass(frozen=True)
class PlanView:
    """Printed result of ``cloudburst plan``: chosen plan, table of plans, sources of figures."""

    choice: Choice
    scenes: Sequence[CheckedScene]
    note: str
    """Note about prices; may be empty."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._chosen()
        yield Text()
        yield self._table()
        yield Text()
        yield from self._figures()
        if self.note:
            yield Text(self.note, "yellow")

    def json(self) -> str:
        """Return the chosen plan, the Pareto-optimal plans and the figures behind them as JSON."""
        choice = self.choice
        step = choice.plans.next_step(choice.plan)
        return json.dumps(
            {
                "type": "plan",
                "scenes": len(self.scenes),
                "audio_seconds": round(sum(scene.audio_seconds for scene in self.scenes), 3),
                "fits": choice.fits,
                "reason": choice.reason,
                "chosen": _plan_to_json(choice.plan),
                "next_step": None if step is None else _plan_to_json(step),
                "frontier": [_plan_to_json(plan) for plan in choice.plans.frontier],
                "figures": [_figures_to_json(each) for each in choice.candidates],
            }
        )

    def _chosen(self) -> Iterator[Text]:
        choice, plan = self.choice, self.choice.plan
        audio = format_duration(sum(scene.audio_seconds for scene in self.scenes))
        yield Text(f"{pluralize(len(self.scenes), 'scene')}, {audio} of audio", "dim")
        if choice.fits:
            yield Text.assemble((plan_text(choice), "bold"), f" ({choice.reason})")
        else:
            message = no_plan_text(choice)
            yield Text(message[0].upper() + message[1:], "red")
        yield Text(_range_text(plan))
        if (step := next_step_text(choice)) is not None:
            yield Text(f"Next step: {step}.")
        if (vcpu := total_vcpu(plan)) > NEW_ACCOUNT_VCPU:
            note = f"The plan needs {vcpu} vCPU at once; a new account has {NEW_ACCOUNT_VCPU}."
            yield Text(note, "yellow")

    def _table(self) -> Table:
        table = plain_table()
        table.add_column("", width=1)
        for name in ("time", "up to", "cost", "up to"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("workers", overflow="fold")
        for plan in self._rows():
            chosen = plan == self.choice.plan
            table.add_row(
                "▸" if chosen else "",
                format_duration(plan.seconds),
                format_duration(plan.seconds_high),
                format_usd(plan.usd) if plan.tasks else "free",
                format_usd(plan.usd_high) if plan.tasks else "",
                workers_text(plan, self.choice.options),
                style="bold" if chosen else "",
            )
        return table

    def _rows(self) -> list[Plan]:
        """Return the chosen plan and the Pareto-optimal plans, at most `MAX_ROWS`, by time."""
        chosen = self.choice.plan
        plans = sorted(
            {*self.choice.plans.frontier, chosen}, key=lambda plan: (-plan.seconds, plan.usd)
        )
        if len(plans) > MAX_ROWS:
            step = (len(plans) - 1) / (MAX_ROWS - 2)
            kept = {plans[round(number * step)] for number in range(MAX_ROWS - 1)} | {chosen}
            plans = [plan for plan in plans if plan in kept]
        return plans

    def _figures(self) -> Iterator[Text]:
        listed = {group.kind for plan in self._rows() for group in plan.groups}
        for each in self.choice.candidates:
            if each.worker_kind not in listed:
                continue
            performance = each.worker_kind.performance
            scene = scene_work(_example_scene(self.scenes[0]))
            text = Text.assemble(
                (f"{_kind_name(each)}: ", "cyan"),
                f"start-up {format_duration(performance.startup_seconds)} ",
                _source(each.starts),
                f", a scene of {EXAMPLE_SECONDS:.0f} s in ",
                f"{performance.encode_seconds(scene):.1f} s ",
                _source(each.encodes),
            )
            if each.worker_kind.encoder_slots > 1:
                text.append(f", {each.worker_kind.encoder_slots} at once")
            yield text


def _range_text(plan: Plan) -> str:
    times = map(format_duration, (plan.seconds_low, plan.seconds_high))
    text = f"Eight of ten runs take {' to '.join(dict.fromkeys(times))}"
    if plan.paid_group and plan.usd_low < plan.usd_high:
        text += f" and cost {format_usd(plan.usd_low)} to {format_usd(plan.usd_high)}"
    return f"{text}."


def _example_scene(scene: CheckedScene) -> CheckedScene:
    return scene.model_copy(update={"audio_seconds": EXAMPLE_SECONDS, "image_bytes": 0})


def _source(samples: int) -> tuple[str, str]:
    if not samples:
        return "(assumed)", "dim"
    return f"(measured {pluralize(samples, 'time')})", "green"


def _kind_name(candidate: Candidate) -> str:
    kind = candidate.worker_kind
    if kind.tier:
        return kind.tier.name
    return "here" if kind.backend == "local" else kind.backend


def _plan_to_json(plan: Plan) -> dict[str, Any]:
    return {
        **{
            name: round(getattr(plan, name), 3)
            for name in ("seconds", "seconds_low", "seconds_high")
        },
        **{name: f"{getattr(plan, name):f}" for name in ("usd", "usd_low", "usd_high")},
        "tasks": plan.tasks,
        "vcpu": total_vcpu(plan),
        "workers": [
            {
                "backend": group.kind.backend,
                "tier": group.kind.tier.name if group.kind.tier else None,
                "count": group.count,
            }
            for group in plan.groups
        ],
    }


def _figures_to_json(candidate: Candidate) -> dict[str, Any]:
    performance = candidate.worker_kind.performance
    return {
        "kind": candidate.kind_name,
        "startup_seconds": round(performance.startup_seconds, 3),
        "seconds_per_scene": round(performance.seconds_per_scene, 3),
        "seconds_per_work": round(performance.seconds_per_work, 4),
        "transfer_seconds": round(performance.transfer_seconds, 3),
        "stop_seconds": round(performance.stop_seconds, 3),
        "encoder_slots": candidate.worker_kind.encoder_slots,
        "usd_per_second": f"{candidate.worker_kind.usd_per_second:f}",
        "measured": sorted(performance.measured),
        "starts": candidate.starts,
        "encodes": candidate.encodes,
    }
