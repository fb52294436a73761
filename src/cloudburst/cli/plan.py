"""``cloudburst plan``: what a run would take and cost, before anything is started."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.cli.choice import NEW_ACCOUNT, Choice, candidates, choose, nothing_fits, vcpu, who
from cloudburst.cli.choice import told as told_plan
from cloudburst.cli.displays import write_line
from cloudburst.cli.offers import Knowledge, Known, price_note
from cloudburst.cli.options import RUN, Look
from cloudburst.cli.settings import read_settings
from cloudburst.cli.where import Where
from cloudburst.cli.words import clock, count, usd
from cloudburst.engine.figures import work
from cloudburst.engine.plan import Plan
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits
from cloudburst.models.scene import CheckedScene
from cloudburst.models.settings import Settings
from cloudburst.preflight import check
from cloudburst.scenes import read_scenes

MOST_ROWS = 8
EXAMPLE = 10.0
"""Seconds of sound of the scene by which it is told how fast encoders are."""
_RANGE, _CORES = 72, 84
"""Cells below which these columns are left out."""

logger = logging.getLogger(__name__)


def plan_command(
    scenes: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    where: Where | None = None,
    look: Look | None = None,
    workers: Annotated[int | None, Parameter(validator=Number(gte=1), group=RUN)] = None,
    json: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
) -> int:
    """Say what rendering would take and cost. Starts nothing and asks nobody.

    Without --backend, this machine and Fargate count, also where no AWS account is set up. The
    cheapest plan that meets --deadline comes first, or the fastest within --budget; then all that
    are worth a thought: no other one is both cheaper and faster.

    Parameters
    ----------
    scenes
        Files or folders of scenes, as for render.
    workers
        Tasks at once, at most; else 16 are thought of.
    json
        All of it as one line of JSON.
    """
    settings, where = read_settings(), where or Where()
    options = (look or Look()).options()
    checked = check([s for path in scenes for s in read_scenes(path)], options, Limits())
    knowledge = Knowledge()
    everywhere, usual = (
        candidates(knowledge, where, settings, workers=workers, everywhere=each)
        for each in (True, False)
    )
    choice = choose(
        [work(scene, options) for scene in checked],
        everywhere,
        deadline=where.deadline,
        budget=where.budget,
        usual_known=usual,
        most=workers or Limits().workers,
    )
    outlook = PlanView(choice, checked, options, where, _note(knowledge, settings))
    if json:
        write_line(outlook.json())
    else:
        Console(highlight=False).print(outlook)
    return 0 if choice.fits else 2


def _note(knowledge: Knowledge, settings: Settings) -> str:
    return price_note(knowledge.prices, settings)


@dataclass(frozen=True)
class PlanView:
    """The choice in words, what else there is, and where the figures are from."""

    choice: Choice
    scenes: Sequence[CheckedScene]
    options: RenderOptions
    where: Where
    note: str
    """About prices; may be empty."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out for the width that there is."""
        yield from self._chosen()
        yield Text()
        yield self._table(options.max_width)
        yield Text()
        yield from self._figures()
        if self.note:
            yield Text(self.note, "yellow")

    def json(self) -> str:
        """The same for programs."""
        choice = self.choice
        return json.dumps(
            {
                "type": "plan",
                "scenes": len(self.scenes),
                "sound": round(sum(scene.seconds for scene in self.scenes), 3),
                "fits": choice.fits,
                "why": choice.why,
                "chosen": _as_json(choice.plan),
                "frontier": [_as_json(plan) for plan in choice.every.frontier],
                "figures": [_figures_as_json(each) for each in choice.known],
            }
        )

    def _chosen(self) -> Iterator[Text]:
        choice, plan = self.choice, self.choice.plan
        film = clock(sum(scene.seconds for scene in self.scenes))
        yield Text(f"{count(len(self.scenes), 'scene')}, {film} of sound", "dim")
        if choice.fits:
            yield Text.assemble((told_plan(plan), "bold"), f" ({choice.why})")
        else:
            where = self.where
            message = nothing_fits(choice, deadline=where.deadline, budget=where.budget)
            yield Text(message[0].upper() + message[1:], "red")
        if plan.paid and plan.usd_low < plan.usd_high:
            yield Text(f"The bill may be from {usd(plan.usd_low)} to {usd(plan.usd_high)}.")
        if (cores := vcpu(plan)) > NEW_ACCOUNT:
            yield Text(
                f"It needs {cores} vCPU at once; a new account may have {NEW_ACCOUNT}.", "yellow"
            )

    def _table(self, width: int) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            header_style="dim",
            border_style="dim",
        )
        table.add_column("", width=1)
        names = ["time", "cost"]
        names += ["from", "to"] if width >= _RANGE else []
        names += ["vCPU"] if width >= _CORES else []
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("workers", overflow="fold")
        for plan in self._rows():
            chosen = plan == self.choice.plan
            cells = {
                "time": clock(plan.seconds),
                "cost": usd(plan.usd) if plan.paid else "nothing",
                "from": usd(plan.usd_low) if plan.paid else "",
                "to": usd(plan.usd_high) if plan.paid else "",
                "vCPU": str(vcpu(plan) or ""),
            }
            row = [cells[name] for name in names]
            table.add_row("▸" if chosen else "", *row, who(plan), style="bold" if chosen else "")
        return table

    def _rows(self) -> list[Plan]:
        """The frontier and the chosen one; of many, some at about equal steps of time."""
        plans = list(self.choice.every.frontier)
        if self.choice.plan not in plans:
            plans.append(self.choice.plan)
        plans.sort(key=lambda plan: (-plan.seconds, plan.usd))
        kept = {plans[0], plans[-1], self.choice.plan} if len(plans) > MOST_ROWS else set(plans)
        while len(kept) < min(MOST_ROWS, len(plans)):
            shown = sorted(plan.seconds for plan in kept)
            kept.add(
                max(
                    (plan for plan in plans if plan not in kept),
                    key=lambda plan: min(abs(_ratio(plan.seconds, s)) for s in shown),
                )
            )
        return [plan for plan in plans if plan in kept]

    def _figures(self) -> Iterator[Text]:
        listed = {crew.offer for plan in self._rows() for crew in plan.crews}
        for each in self.choice.known:
            if each.offer not in listed:
                continue
            pace, name = each.offer.pace, _name(each)
            scene = pace.encode(work(_example(self.scenes[0]), self.options))
            told = Text.assemble(
                (f"{name}: ", "cyan"),
                f"start {clock(pace.start)} ",
                _how(each.starts),
                f", a scene of {EXAMPLE:.0f} s in {scene:.1f} s ",
                _how(each.encodes),
            )
            if each.offer.encoders > 1:
                told.append(f", {each.offer.encoders} at once")
            yield told


def _ratio(one: float, other: float) -> float:
    return one / max(other, 1e-9) - 1


def _example(scene: CheckedScene) -> CheckedScene:
    return scene.model_copy(update={"seconds": EXAMPLE, "bytes": 0})


def _how(samples: int) -> tuple[str, str]:
    if not samples:
        return "(assumed)", "dim"
    return f"(measured {count(samples, 'time')})", "green"


def _name(known: Known) -> str:
    tier = known.offer.tier
    return tier.name if tier else "here" if known.offer.backend == "local" else known.offer.backend


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "seconds": round(plan.seconds, 3),
        **{name: _plain(getattr(plan, name)) for name in ("usd", "usd_low", "usd_high")},
        "tasks": plan.tasks,
        "vcpu": vcpu(plan),
        "workers": [
            {
                "backend": crew.offer.backend,
                "tier": crew.offer.tier.name if crew.offer.tier else None,
                "number": crew.number,
            }
            for crew in plan.crews
        ],
    }


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"


def _figures_as_json(known: Known) -> dict[str, Any]:
    pace = known.offer.pace
    return {
        "kind": known.kind,
        "start": round(pace.start, 3),
        "scene": round(pace.scene, 3),
        "ratio": round(pace.ratio, 4),
        "moving": round(pace.moving, 3),
        "stop": round(pace.stop, 3),
        "encoders": known.offer.encoders,
        "usd_per_second": _plain(known.offer.usd_per_second),
        "measured": sorted(pace.measured),
        "starts": known.starts,
        "encodes": known.encodes,
    }
