"""``cloudburst plan``, and a render that follows it: no account, and nothing is started."""

from __future__ import annotations

import io
import json
import math
import re
import wave
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from cloudburst.aws.client.price_list import read_prices
from cloudburst.cli import main
from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.plan import (
    apply_plan,
    next_step_text,
    plan_lines,
    plan_text,
    reason_text,
    workers_text,
)
from cloudburst.cli.result import RunRequest
from cloudburst.client.backends import OpenFargate, OpenLocal
from cloudburst.client.planning import DEFAULT_MAX_TASKS, MAX_PLANS, Choice, PlanData, choose
from cloudburst.display.texts import estimated_usd
from cloudburst.engine.forecast.plan import Plan
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.errors import ConfigurationError
from cloudburst.inputs.preflight import check_scenes
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions
from cloudburst.models.performance import Cloud, Sample, fargate_kind, local_kind
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.scene import Scene
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.outputs.history import write_history
from cloudburst.service.cpu import usable_cores
from cloudburst.testing import EmulatorConfig, FargateEmulator, Fault
from support.remote_store import RemoteStore

FARGATE = BackendOptions(backend="fargate")
NATIVE = Settings(protocol=Protocol.NATIVE)
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudburst@sha256:0123"


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures of this machine, no settings and no credentials; and any call to AWS fails."""
    for name in ("AWS_SUBNET_ID", "AWS_REGION", "CLOUDBURST_PROTOCOL", "COLUMNS", "RESULTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Twelve of a minute each."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    with wave.open(str(folder / "s00.wav"), "wb") as sound:
        sound.setparams((1, 1, 1000, 0, "NONE", ""))
        sound.writeframes(bytes(60_000))
    for number in range(12):
        Image.new("RGB", (64, 36), "teal").save(folder / f"s{number:02}.png")
        if number:
            (folder / f"s{number:02}.wav").write_bytes((folder / "s00.wav").read_bytes())
    return folder


def plan(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code = main(["plan", *map(str, arguments), "--json"])
    said = json.loads(capsys.readouterr().out)
    (chosen,) = (each for each in said["plans"] if each["chosen"])
    return code, said | {"chosen": chosen}


def best(scenes: Path, tier: Tier | None = None, **limits: Any) -> Choice:
    """Return the choice among tasks on Fargate."""
    checked = check_scenes(entries(scenes), RenderOptions(), Limits())
    tiers = [*Tier] if tier is None else [tier]
    known = PlanData().candidates([OpenFargate(Settings())], tiers=tiers, workers=None)
    return choose(checked, known, default_candidates=known, limits=Limits(**limits))


def test_a_plan_without_an_account(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = plan(capsys, scenes)
    assert code == 0
    assert [each["seconds"] for each in said["scenes"]] == [60.0] * 12
    assert (said["type"], said["fits"], said["film_seconds"]) == ("plan", True, None)
    assert (said["chosen"]["place"], Decimal(said["chosen"]["usd"])) == ("machine", 0)
    assert {each["place"] for each in said["plans"]} >= {"machine", "fargate"}
    assert not any(each["measured"] for each in said["plans"])
    times = [each["seconds"] for each in said["plans"]]
    assert times == sorted(times, reverse=True)


def test_scenes_of_one_voice_are_planned_by_their_positions_in_it(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [{"name": "a", "image": "s00.png", "until": 20}, {"name": "b", "image": "s01.png"}]
    (scenes / "scenes.json").write_text(json.dumps(listed))
    voice = ("--film", "film.mp4", "--film-audio", scenes / "s00.wav")
    code, said = plan(capsys, scenes / "scenes.json", *voice)
    assert (code, [each["seconds"] for each in said["scenes"]]) == (0, [20.0, 40.0])
    assert said["film_seconds"] == 60.0


def test_without_an_account_the_table_has_the_price_of_fargate(
    scenes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", str(scenes)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.search(r"\$\d\S* +\$\d\S* +\d+ × [A-Z]+", line) for line in lines)
    assert re.search("free +this machine", "\n".join(lines))
    assert "cloudburst init" in lines[-1]
    assert main(["plan", str(scenes), "--backend", "local"]) == 0
    printed = capsys.readouterr().out
    assert "cost" not in printed, "one plan needs no table"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.0000123", "$0.000012"),
        ("0.00826", "$0.0083"),
        ("0.2211", "$0.22"),
        ("3.14159", "$3.14"),
        ("1234.5", "$1,234"),
        ("0", "$0"),
    ],
)
def test_a_predicted_amount_has_two_digits(amount: str, text: str) -> None:
    assert estimated_usd(Decimal(amount)) == text


def test_the_cheapest_in_time(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frontier = best(scenes, Tier.STANDARD).plans.frontier
    slowest, *faster = frontier
    assert slowest.tasks == 1
    for wanted in (slowest, faster[0], faster[-1]):
        deadline = f"{wanted.seconds_high + 1:.0f}s"
        code, said = plan(
            capsys, scenes, "--backend", "fargate", "--tier", "1", "--deadline", deadline
        )
        limit = wanted.seconds_high + 1
        cheapest = next(plan for plan in frontier if plan.seconds_high <= limit)
        assert (code, said["chosen"]["seconds"]) == (0, cheapest.seconds)


def test_the_fastest_for_the_money(scenes: Path) -> None:
    choice = best(scenes, max_usd=Decimal("0.5"))
    assert choice.plan.usd_high <= Decimal("0.5")
    faster = [p for p in choice.plans.frontier if p.seconds < choice.plan.seconds]
    assert all(p.usd_high > Decimal("0.5") for p in faster)


def test_the_next_step_is_the_cheapest_second(scenes: Path) -> None:
    choice = best(scenes, deadline=36_000.0)
    chosen, step = choice.plan, choice.plans.next_step(choice.plan)

    def price(other: Plan) -> float:
        return float(other.usd - chosen.usd) / (chosen.seconds - other.seconds)

    faster = [each for each in choice.plans.frontier if each.seconds < chosen.seconds]
    assert step == min(faster, key=price)
    fastest = best(scenes, max_usd=Decimal(100))
    assert next_step_text(fastest) is None, "nothing is faster than the fastest"


def test_the_value_of_an_hour_chooses_the_number_of_tasks(scenes: Path) -> None:
    """Measured: each scene takes 5 s, and a task encodes two at once."""
    cloud = Cloud.of("http://127.0.0.1:9", region="us-east-1", account="1")
    kind = fargate_kind(Tier.STANDARD, Protocol.NATIVE, "X86_64", cloud, IMAGE)
    (work,) = {scene_work(s) for s in check_scenes(entries(scenes), RenderOptions(), Limits())}
    encodes = [Sample(kind=kind, measure="encode", seconds=5.0, work=work)] * 30
    write_history([Sample(kind=kind, measure="startup", seconds=58.0), *encodes])
    tasks = dict[str, int]()
    for value in (None, Decimal(0), Decimal(1)):
        limits = BackendOptions(hour_usd=value).limits(Limits())
        choice = best(scenes, Tier.STANDARD, hour_usd=limits.hour_usd)
        tasks[reason_text(choice)] = choice.plan.tasks
    assert tasks == {
        "what cloudburst render does by default": 3,
        "what cloudburst render does with --hour-usd 0": 1,
        "what cloudburst render does with --hour-usd 1": 2,
    }


def test_limits_are_said_without_needless_digits(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    within = {"0.5": "10 min and $0.50,", "0.505": "10 min and $0.505,"}
    for budget, text in within.items():
        assert main(["plan", str(scenes), "--deadline", "10m", "--budget", budget]) == 0
        assert f"within {text}" in " ".join(capsys.readouterr().out.split())


def test_no_plan_is_good_enough(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = plan(capsys, scenes, "--backend", "fargate", "--deadline", "30s")
    assert (code, said["fits"]) == (2, False)
    assert said["chosen"] == said["plans"][-1]
    assert main(["plan", str(scenes), "--backend", "fargate", "--deadline", "30s"]) == 2
    assert "No plan finishes within 30 s; the closest: $" in " ".join(
        capsys.readouterr().out.split()
    )


def test_bad_scenes_are_told_first(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scenes / "s03.wav").write_bytes(b"no sound")
    assert main(["plan", str(scenes)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "1 fault; nothing was started" in said.err


def test_characters_without_a_font_are_named_unless_the_public_image_draws_them(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "s03.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nمرحبا\n", "utf-8")
    assert main(["plan", str(scenes)]) == 2
    assert "Arabic characters that no font has" in capsys.readouterr().err
    code, said = plan(capsys, scenes, *["--backend", "http://a:5000", "--protocol", "onestep"])
    assert (code, "Arabic" in str(said["scenes"][3]["warnings"])) == (0, True)


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--deadline", "soon"], "expected a time such as 90s, 10m, 1h30m or 2d"),
        (["--budget", "0"], "Must be > 0"),
        (["--budget", "50c"], "50c; expected an amount in USD such as 0.50"),
        (["--backend", "cloud"], "'cloud'; expected local, fargate, burst or addresses"),
        (["--workers", "0"], "Must be >= 1"),
        (["--tier", "9", "--backend", "fargate"], "--tier: '9'; expected one of 1 (STANDARD)"),
    ],
)
def test_impossible_requests_are_refused(
    arguments: list[str], message: str, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(scenes), *arguments]) == 2
    said = capsys.readouterr()
    assert message in " ".join((said.out + said.err).replace("│", " ").split())


@pytest.mark.parametrize("option", ["--budget", "--max-usd"])
def test_the_old_name_of_the_budget(
    option: str, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = plan(capsys, scenes, "--backend", "fargate", option, "0.001")
    assert code == 2
    assert not said["fits"]


def test_how_it_looks(scenes: Path, tmp_path: Path) -> None:
    options = RenderOptions(motion_search=True)
    checked = check_scenes(
        [Scene(name="s", image=scenes / "s00.png", audio=scenes / "s00.wav")], options, Limits()
    )
    checked = checked * 40
    backends = OpenLocal(), OpenFargate(NATIVE)
    known = PlanData().candidates(backends, tiers=Tier, workers=None)
    choice = choose(checked, known, default_candidates=known, limits=Limits(deadline=200.0))
    for width in (60, 80, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(*plan_lines(choice, ["a note on prices"]), sep="\n")
        lines = console.file.getvalue().splitlines()
        assert all(len(line) <= width for line in lines)
        rows = [line for line in lines if line.startswith(("▸", "  ")) and " s " in line]
        assert 4 < len(rows) <= MAX_PLANS
        assert sum(row.startswith("▸") for row in rows) == 1
        text = " ".join(console.file.getvalue().split())
        assert plan_text(choice) in text
        assert "the cheapest within 3 min 20 s, kept in 9 of 10 runs" in text
        assert re.search(r"Eight of ten runs take .* s to 3 min .* s and cost \$.* to \$", text)
        assert "time up to cost up to workers" in text
        assert re.search(r"Next step: \d × .* s sooner for \$.* more, .* for an hour\.", text)
        assert "The speed of this machine and tasks is assumed" in text
        assert "a note on prices" in text


def test_figures_of_earlier_runs_count() -> None:
    kind = local_kind(encoder_slots=usable_cores(), cores=usable_cores())
    write_history(
        [
            Sample(kind=kind, measure="startup", seconds=9.0),
            *[
                Sample(kind=kind, measure="encode", seconds=3.0 * x, work=x)
                for x in (5.0, 9.0, 20.0)
            ],
        ]
    )
    here = PlanData().local(workers=None)
    assert here.worker_kind.performance.startup_seconds == 9.0
    assert here.worker_kind.performance.encode_seconds(10.0) == pytest.approx(30.0, rel=0.05)
    assert here.worker_kind.performance.measured == {"startup", "encode"}


def test_the_image_is_that_of_the_settings_or_of_the_latest_run() -> None:
    def kinds(settings: Settings) -> str:
        (one,) = PlanData().fargate(settings, tiers=[Tier.STANDARD], workers=None)
        return " ".join(one.kind_name.split()[:4])

    assert kinds(Settings()) == "fargate STANDARD native X86_64"
    assert kinds(Settings(image="public")) == "fargate STANDARD onestep X86_64"
    assert kinds(Settings(image="ghcr.io/a/cloudburst:1")) == "fargate STANDARD native X86_64"
    assert kinds(NATIVE) == "fargate STANDARD native X86_64"
    arm = Settings(task_definition="cloudburst-task-arm64:3", protocol=Protocol.NATIVE)
    assert kinds(arm) == "fargate STANDARD native ARM64"
    here = Cloud.of(Settings().endpoint_url, region="us-east-1", account="1")
    elsewhere = replace(here, region="eu-west-1")
    for cloud, protocol in ((here, Protocol.NATIVE), (elsewhere, Protocol.ONESTEP)):
        kind = fargate_kind(Tier.ECONOMY, protocol, "X86_64", cloud, IMAGE)
        write_history([Sample(kind=kind, measure="startup", seconds=50.0)])
    public = Settings(image="public")
    assert kinds(public) == "fargate STANDARD native X86_64"
    assert kinds(Settings(protocol=Protocol.ONESTEP)) == "fargate STANDARD onestep X86_64"


EMULATOR = Cloud.of("http://127.0.0.1:4566/", region="us-east-1", account="123456789012")
FIRST = Cloud.of(None, region="us-east-1", account="111111111111")
SECOND = replace(FIRST, account="222222222222")
IRELAND = replace(FIRST, region="eu-west-1")
OLD = "fargate STANDARD native X86_64"


@pytest.mark.parametrize(
    ("measured", "settings", "seconds"),
    [
        pytest.param([EMULATOR], {}, 0, id="an emulator's figures are not AWS's"),
        pytest.param([FIRST], {"endpoint_url": "http://127.0.0.1:4566"}, 0, id="nor AWS's its"),
        pytest.param([EMULATOR], {"endpoint_url": "http://u:p@127.0.0.1:4566/x"}, 1, id="its own"),
        pytest.param([IRELAND], {}, 0, id="another region"),
        pytest.param([IRELAND], {"region": "eu-west-1"}, 1, id="the region"),
        pytest.param([FIRST, SECOND, SECOND], {}, 2.5, id="account not known: the latest one"),
        pytest.param(
            [FIRST, SECOND, SECOND],
            {"role_arn": "arn:aws:iam::111111111111:role/r"},
            1,
            id="the account of the role",
        ),
        pytest.param(
            [FIRST],
            {"task_definition": "arn:aws:ecs:us-east-1:333333333333:task-definition/x:1"},
            0,
            id="the account of the task definition",
        ),
        pytest.param([None], {}, 0, id="without an account, as it was kept once"),
    ],
)
def test_figures_count_where_they_were_measured(
    measured: list[Cloud | None], settings: dict[str, str], seconds: float
) -> None:
    for number, cloud in enumerate(measured, 1):
        kind = OLD
        if cloud:
            kind = fargate_kind(Tier.STANDARD, Protocol.NATIVE, "X86_64", cloud, IMAGE)
        write_history([Sample(kind=kind, measure="startup", seconds=number)])
    asked = NATIVE.model_copy(update={"endpoint_url": None, "region": "us-east-1", **settings})
    (one,) = PlanData().fargate(asked, tiers=[Tier.STANDARD], workers=None)
    performance = one.worker_kind.performance
    assert performance.startup_seconds == seconds if seconds else not performance.measured
    assert "p@" not in one.kind_name


def test_prices_of_tasks() -> None:
    def rate(settings: Settings, tier: Tier = Tier.STANDARD) -> Decimal:
        (one,) = PlanData().fargate(settings, tiers=[tier], workers=None)
        return one.worker_kind.usd_per_second

    usual = rate(NATIVE)
    assert usual == US_EAST_1_RATES.task_usd_per_second(Tier.STANDARD)
    assert rate(Settings(public_address=False)) == US_EAST_1_RATES.task_usd_per_second(
        Tier.STANDARD, public_ipv4=False
    )
    disk = rate(Settings(ephemeral_storage=70))
    assert disk == usual + 50 * US_EAST_1_RATES.disk_gb
    spot = rate(BackendOptions(spot=True).apply_to(NATIVE))
    assert spot < usual / 2


def test_workers_are_tasks_where_there_are_tasks() -> None:
    settings = Settings(subnets=("subnet-1",))

    def most(
        where: BackendOptions, workers: int | None, settings: Settings = settings
    ) -> dict[str, int]:
        found = where.open_backend(settings, workers=workers)
        backends = found if isinstance(found, Sequence) else [found]
        known = PlanData().candidates(backends, tiers=Tier, workers=workers)
        return {each.worker_kind.backend: each.worker_kind.max_workers for each in known}

    assert most(BackendOptions(), 7) == {"local": 1, "fargate": 7}
    assert most(BackendOptions(), None) == {"local": 1, "fargate": DEFAULT_MAX_TASKS}
    assert most(BackendOptions(backend="burst"), 7) == {"local": 1, "fargate": 7}
    assert most(BackendOptions(backend="local"), 3) == {"local": 3}
    assert most(BackendOptions(), 3, Settings()) == {"local": 3}
    assert most(BackendOptions(backend="http://a:5000, http://b:5000"), None) == {"endpoints": 2}


def planned(
    where: BackendOptions, settings: Settings, *, workers: int | None = None, **more: Any
) -> RunRequest:
    facts: dict[str, Any] = {
        "to": Path("out"),
        "options": RenderOptions(),
        "backend": where.open_backend(where.apply_to(settings), workers=workers),
        "tier": Tier.STANDARD,
        "limits": where.limits(Limits()),
        "overwrite": False,
    }
    return apply_plan(RunRequest(**facts | more), where, settings, workers=workers)


def entries(scenes: Path) -> list[dict[str, Any]]:
    return [
        {"name": path.stem, "image": path, "audio": path.with_suffix(".wav")}
        for path in sorted(scenes.glob("*.png"))
    ]


@pytest.fixture
def account() -> Settings:
    return Settings(subnets=("subnet-1",), protocol=Protocol.NATIVE)


def test_a_deadline_becomes_tier_and_tasks(scenes: Path, account: Settings) -> None:
    where = BackendOptions(backend="fargate", deadline=200.0, budget=Decimal(1))
    done = planned(where, account, scenes=entries(scenes))
    known = PlanData().candidates([OpenFargate(account)], tiers=Tier, workers=None)
    checked = check_scenes(entries(scenes), RenderOptions(), Limits())
    limits = Limits(deadline=200.0, max_usd=Decimal(1))
    choice = choose(checked, known, default_candidates=known, limits=limits)
    assert workers_text(choice.plan, choice) == f"{done.limits.workers} × {done.tier.name}"
    assert (done.limits.deadline, done.limits.max_usd) == (choice.plan.seconds, Decimal(1))
    assert len(done.backend) == 1  # type: ignore[arg-type]


def emulated_settings(emulator: FargateEmulator) -> Settings:
    return Settings(**emulator.environment, protocol=Protocol.NATIVE)


def test_a_budget_becomes_the_fastest_run_for_it(scenes: Path) -> None:
    where = BackendOptions(backend="burst", budget=Decimal("0.02"))
    options = RenderOptions(motion_search=True)  # more work than this machine does in time
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        account = emulated_settings(emulator)
        done = planned(where, account, workers=3, scenes=entries(scenes), options=options)
    assert 1 <= done.limits.workers <= 3
    assert done.limits.max_usd == Decimal("0.02")
    assert done.limits.deadline is not None  # so that all of its tasks are started
    assert len(done.backend) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "refused", "most"),
    [
        (FARGATE, None, 20),
        (replace(FARGATE, spot=True), None, 10),
        (FARGATE, "AccessDeniedException", 6),
        (replace(FARGATE, tier="MAXIMUM_PERFORMANCE"), "AccessDeniedException", math.inf),
    ],
    ids=["on demand", "Spot", "not known", "named size"],
)
def test_a_budget_plans_no_more_vcpu_than_the_quota(
    scenes: Path,
    caplog: pytest.LogCaptureFixture,
    where: BackendOptions,
    refused: str | None,
    most: float,
) -> None:
    where = replace(where, budget=Decimal(2))
    options = RenderOptions(motion_search=True)
    config = EmulatorConfig.quick(moto=False, vcpu_quota=20, spot_vcpu_quota=10)
    with FargateEmulator(config) as emulator:
        if refused:
            emulator.add_fault(Fault(operation="GetServiceQuota", code=refused, times=None))
        facts = {"scenes": entries(scenes), "options": options, "tier": where.selected_tier()}
        done = planned(where, emulated_settings(emulator), **facts)
        asked = [call.operation for call in emulator.calls]
    needed = done.limits.workers * done.tier.vcpu
    assert most / 2 < needed <= most if most < math.inf else needed > 20
    assert asked == (["GetServiceQuota"] if most < math.inf else [])
    assert ("because its quota is not known" in caplog.text) == (most == 6)


def test_a_quota_below_the_smallest_task_plans_one(scenes: Path) -> None:
    """AWS says why it does not start, and ``cloudburst doctor`` what to do."""
    with FargateEmulator(EmulatorConfig.quick(moto=False, vcpu_quota=0)) as emulator:
        where = replace(FARGATE, budget=Decimal(1))
        done = planned(where, emulated_settings(emulator), scenes=entries(scenes))
    assert (done.limits.workers, done.tier) == (1, Tier.ECONOMY)


def test_what_this_machine_does_in_time_starts_no_task(scenes: Path, account: Settings) -> None:
    done = planned(BackendOptions(deadline=36_000.0), account, scenes=entries(scenes))
    assert len(done.backend) == 1  # type: ignore[arg-type]
    assert done.limits.workers == Limits().workers


def test_containers_stay_who_they_are(scenes: Path) -> None:
    where = BackendOptions(backend="http://a:5000", deadline=36_000.0)
    backend = where.open_backend(NATIVE, workers=None)
    assert planned(where, NATIVE, scenes=entries(scenes)).backend == [backend]


def test_a_render_that_no_plan_fits_is_not_begun(
    scenes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SUBNET_ID", "subnet-1")
    told = ["render", str(scenes), "--to", "out", "--backend", "fargate", "--deadline", "20s"]
    assert main(told) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no plan finishes within 20 s; the closest: $" in said
    assert not Path("out").exists()


def test_scenes_in_s3(
    scenes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RemoteStore()
    for file in scenes.iterdir():
        store.put(f"f/{file.name}", file.read_bytes())
    store.put("f/lone.png", b"")
    for module in ("cli.plan", "client.planning"):
        name = f"cloudburst.{module}.open_remote_inputs"
        monkeypatch.setattr(name, lambda _settings: store.inputs())
    assert main(["plan", "s3://bucket/f/", "--backend", "fargate"]) == 0
    told = capsys.readouterr()
    assert "12 scenes" in told.out
    assert "s3://bucket/f/lone.png: a picture without an audio file" in told.err
    assert not +store.opened


@pytest.mark.parametrize(("suffix", "architecture"), [("", "X86_64"), ("-arm64", "ARM64")])
def test_plan_is_for_the_processor_of_the_task_definition(suffix: str, architecture: str) -> None:
    settings = Settings(task_definition=f"cloudburst-render{suffix}")
    (found,) = PlanData().fargate(settings, tiers=[Tier.STANDARD], workers=None)
    assert f" {architecture} " in found.kind_name
    rates = read_prices().rates("us-east-1", architecture=architecture)
    assert found.worker_kind.usd_per_second == rates.task_usd_per_second(Tier.STANDARD)


def test_plans_include_the_uplink_that_an_earlier_run_has_measured(
    scenes: Path, capsys: pytest.CaptureFixture[str], account: Settings
) -> None:
    cloud = Cloud.of("http://127.0.0.1:9", region="us-east-1", account="1")
    kind = fargate_kind(Tier.STANDARD, Protocol.NATIVE, "X86_64", cloud, IMAGE)
    checked = check_scenes(entries(scenes), RenderOptions(), Limits())
    size = sum(path.stat().st_size for path in {p for s in checked for p in s.versions})
    options = "--backend", "fargate", "--tier", "STANDARD"
    _, before = plan(capsys, scenes, *options)
    write_history([Sample(kind=kind, measure="uplink", seconds=1000e6 / size)])
    _, after = plan(capsys, scenes, *options)
    assert before["chosen"]["seconds"] < 200
    assert after["chosen"]["seconds"] > 1000, "the time in which all files are sent"
    where = BackendOptions(backend="fargate", tier="STANDARD", deadline=900.0)
    with pytest.raises(ConfigurationError, match="no plan finishes within 15 min"):
        planned(where, account, scenes=entries(scenes))


def test_figures_of_another_image_do_not_count() -> None:
    cloud = Cloud.of(None, region="us-east-1", account="123456789012")
    older, newer = (
        fargate_kind(Tier.STANDARD, Protocol.NATIVE, "X86_64", cloud, f"{IMAGE}{tag}")
        for tag in ("a", "b")
    )
    assert newer.endswith(" sha256:0123b")
    write_history(
        [
            *[Sample(kind=older, measure="startup", seconds=90.0)] * 8,
            Sample(kind=newer, measure="startup", seconds=20.0),
        ]
    )
    asked = NATIVE.model_copy(update={"region": "us-east-1"})
    (found,) = PlanData().fargate(asked, tiers=[Tier.STANDARD], workers=None)
    assert found.worker_kind.performance.startup_seconds == 20.0
