"""What a run cost, as a person reads it; and the options that say where it runs."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.result import RunOutcome
from cloudburst.client import backends
from cloudburst.display.summary import summary
from cloudburst.errors import ConfigurationError
from cloudburst.models.report import Cost, Prediction, Report, SceneReport, Status, WorkerReport
from cloudburst.models.scene import Video
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier

ARN = "arn:aws:ecs:us-east-1:123456789012:task/cloudburst-cluster/0123456789abcdef0123456789abcdef"


def report(*, final: bool = True, status: Status = Status.BUDGET) -> Report:
    def scene(name: str, usd: str) -> SceneReport:
        video = Video(
            scene=name, path=Path(f"{name}.mp4"), task=ARN, size=10**6, sha256="0" * 64, seconds=9.0
        )
        return SceneReport(scene=name, video=video, task=ARN, encode_seconds=4.0, usd=Decimal(usd))

    good = Cost(
        starting=Decimal("0.0010"),
        encoding=Decimal("0.0030"),
        transferring=Decimal("0.0004"),
        idle=Decimal("0.0006"),
        billed_seconds=174,
        final=final,
    )
    bad = Cost(wasted=Decimal("0.0017"), billed_seconds=60, final=True)
    return Report(
        run="r1",
        status=status,
        wall_seconds=83.0,
        scenes=(
            scene("one", "0.0028"),
            scene("two", "0.0022"),
            SceneReport(scene="three", error="BudgetError: not begun: the bill would come to $1"),
        ),
        workers=(
            WorkerReport(
                task=ARN,
                backend="fargate",
                launched_at=0.4,
                ready_at=31,
                stopped_at=80,
                scenes=2,
                cost=good,
            ),
            WorkerReport(
                task=ARN.replace("0123", "beef"),
                backend="fargate",
                launched_at=0.4,
                cost=bad,
                error="WorkerStoppedError: CannotPullContainerError: pull image manifest",
            ),
            WorkerReport(task="", backend="fargate", launched_at=None, error="CapacityError: none"),
        ),
        cost=Cost(
            starting=good.starting,
            encoding=good.encoding,
            transferring=good.transferring,
            idle=good.idle,
            wasted=bad.wasted,
            billed_seconds=234,
            final=final,
        ),
    )


def told(of: Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(summary(of))
    return console.file.getvalue()


def test_the_bill_is_told_by_scene_by_task_and_by_part():
    text = told(report())
    lines = text.splitlines()
    assert "$0.0028" in next(line for line in lines if line.startswith("one"))
    row = next(line for line in lines if line.startswith("0123456789ab"))
    assert row.split()[1:] == ["31", "s", "2", "min", "54", "s", "2", "$0.0050"]
    assert "never" in next(line for line in lines if line.startswith("beef456789ab"))
    assert "Cost $0.0067 for 3 min 54 s billed (final): starting 15%, encoding 45%" in text
    assert "wasted 25%" in text
    assert all(len(line) <= 80 for line in lines)


def test_a_warning_names_all_videos_that_it_concerns():
    good = report()
    warning = "subtitle: left out, because no font has a glyph: U+1F600 GRINNING FACE"
    scenes = tuple(
        entry.model_copy(update={"video": entry.video.model_copy(update={"warnings": (warning,)})})
        if entry.video
        else entry
        for entry in good.scenes
    )
    text = told(good.model_copy(update={"scenes": scenes}), 120)
    assert f"2 videos with a warning: {warning}" in text
    assert "one, two" in text


def test_a_task_that_may_still_run_is_named_first_of_all():
    good = report(status=Status.COMPLETE)
    left = good.workers[0].model_copy(update={"possibly_running": True})
    bad = good.model_copy(update={"workers": (left,)})
    assert f"{ARN} may still run; stop it: cloudburst cleanup" in told(bad, 160)
    assert RunOutcome(report=good).exit_code == 0
    assert RunOutcome(report=bad).exit_code == 1


def test_an_estimate_says_so():
    assert "(estimate, tasks are stopping)" in told(report(final=False), 120)


def test_a_budget_that_was_kept_is_told():
    assert "Out of budget: 2 videos of 3 scenes" in told(report(), 120)


@pytest.mark.parametrize(
    ("text", "tier"), [("2", Tier.HIGH_PERFORMANCE), ("economy", Tier.ECONOMY)]
)
def test_tiers_by_name_and_priority(text, tier):
    assert BackendOptions(tier=text).selected_tier() is tier


@pytest.mark.parametrize("text", ["9", "huge"])
def test_a_tier_that_there_is_not(text):
    with pytest.raises(ConfigurationError, match=f"{text}.*STANDARD"):
        BackendOptions(tier=text).selected_tier()


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("cloud", "'cloud'; expected local, fargate, burst or"),
        ("fargate", "AWS_SUBNET_ID is not set"),
    ],
)
def test_a_backend_that_there_cannot_be(backend, message, monkeypatch):
    monkeypatch.delenv("AWS_SUBNET_ID", raising=False)
    with pytest.raises(ConfigurationError, match=message):
        BackendOptions(backend=backend).open_backend(Settings(), workers=None)


def test_backends_that_there_can_be():
    settings = Settings(subnets=("subnet-1",))
    for backend in ("local", "fargate", "http://a:5000,http://b:5000"):
        assert callable(BackendOptions(backend=backend).open_backend(settings, workers=1))
    here, there = BackendOptions(backend="burst").open_backend(settings, workers=1)
    assert callable(here)
    assert callable(there)


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("subnets", [("subnet-1",), ()])
def test_the_command_line_bursts_where_it_can(subnets, here, monkeypatch):
    missing = () if here else ("nowhere_to_be_found",)
    monkeypatch.setattr(backends, "MODULES", (*backends.MODULES, *missing))
    found = BackendOptions().open_backend(Settings(subnets=subnets), workers=1)
    assert isinstance(found, tuple) is bool(subnets and here)


def test_a_burst_wants_a_subnet(monkeypatch):
    monkeypatch.delenv("AWS_SUBNET_ID", raising=False)
    with pytest.raises(ConfigurationError, match="AWS_SUBNET_ID is not set"):
        BackendOptions(backend="burst").open_backend(Settings(), workers=None)


@pytest.mark.parametrize(
    ("seconds", "told_so"),
    [
        (80.0, "1 min 20 s predicted, 1 min 23 s taken; "),
        (100.0, "1 min 40 s predicted, 1 min 23 s taken; "),
    ],
)
def test_the_prediction_is_compared_with_the_result(seconds, told_so):
    predicted = Prediction(
        wall_seconds=seconds, usd_low=Decimal("0.004"), usd_high=Decimal("0.009")
    )
    done = report(status=Status.COMPLETE).model_copy(update={"predicted": predicted})
    assert told_so in told(done, 120)
    assert "; $0.0040 to $0.0090 predicted, $0.0067 billed" in told(done, 120)
    assert all(len(line) <= 60 for line in told(done, 60).splitlines())
    cut_off = done.model_copy(update={"status": Status.BUDGET})
    assert "predicted" not in told(cut_off, 120)
    same = done.model_copy(
        update={"predicted": predicted.model_copy(update={"usd_low": Decimal("0.009")})}
    )
    assert "; $0.0090 predicted, $0.0067 billed" in told(same, 120)


def test_where_nothing_is_billed_no_price_was_predicted():
    done = report(status=Status.COMPLETE).model_copy(
        update={"predicted": Prediction(wall_seconds=83.0), "workers": (), "cost": Cost(final=True)}
    )
    assert "1 min 23 s predicted, 1 min 23 s taken\n" in told(done, 120)
    assert json.loads(done.model_dump_json())["predicted"]["wall_seconds"] == 83.0


def test_a_worker_that_never_had_a_task_is_not_listed_as_one():
    refused = "WorkerAuthenticationError: the worker refuses the key"
    failed = report().model_copy(
        update={
            "status": Status.FAILED,
            "scenes": (SceneReport(scene="one", error=refused),),
            "workers": (
                WorkerReport(task="", backend="endpoints", launched_at=None, error=refused),
            ),
        }
    )
    text = told(failed)
    assert text.startswith("1 scene failed: the worker refuses the key\n  one\n")
    assert "tasks:" not in text


def test_a_worker_at_an_address_is_named_with_its_whole_port():
    refused = "WorkerUnreachableError: no answer"
    worker = WorkerReport(
        task="http://127.0.0.1:5999#0", backend="endpoints", launched_at=0.1, error=refused
    )
    scene = SceneReport(scene="one", task=worker.task, error=refused)
    failed = report().model_copy(
        update={"status": Status.FAILED, "scenes": (scene,), "workers": (worker,)}
    )
    assert "tasks: 127.0.0.1:5999\n" in told(failed)


def test_a_printed_report_has_only_characters_that_the_output_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = report(status=Status.COMPLETE)
    assert "✓" in str(made)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "cp1252"))
    assert str(made).encode("cp1252").startswith(b"scene")
    assert "? 2 videos of" in str(made)
