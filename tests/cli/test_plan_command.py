"""``cloudburst plan``, and a render that follows it: no account, and nothing is started."""

from __future__ import annotations

import io
import json
import wave
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from cloudburst.cli import main
from cloudburst.cli.choice import as_planned, candidates, choose, told, who
from cloudburst.cli.offers import TASKS, Knowledge
from cloudburst.cli.plan import MOST_ROWS, PlanView
from cloudburst.cli.running import Job
from cloudburst.cli.where import Where
from cloudburst.engine.assumed import fargate_kind, local_kind
from cloudburst.engine.figures import work
from cloudburst.errors import ConfigurationError
from cloudburst.history import write_history
from cloudburst.models.options import RenderOptions
from cloudburst.models.pace import Sample
from cloudburst.models.policy import Limits
from cloudburst.models.prices import US_EAST_1
from cloudburst.models.scene import Scene
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.preflight import check
from cloudburst.service.cores import usable_cores

FARGATE = Where(backend="fargate")
NATIVE = Settings(protocol=Protocol.NATIVE)


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
        sound.setparams((1, 1, 100, 0, "NONE", ""))
        sound.writeframes(bytes(6000))
    for number in range(12):
        Image.new("RGB", (64, 36), "teal").save(folder / f"s{number:02}.png")
        if number:
            (folder / f"s{number:02}.wav").write_bytes((folder / "s00.wav").read_bytes())
    return folder


def plan(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code = main(["plan", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_plan_without_an_account(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = plan(capsys, scenes)
    assert code == 0
    assert (said["scenes"], said["sound"], said["fits"]) == (12, 720.0, True)
    assert said["chosen"]["workers"] == [
        {"backend": "local", "tier": None, "number": min(usable_cores(), 4)}
    ]
    assert said["chosen"]["usd"] == "0.000000"
    assert said["frontier"][0] == said["chosen"]
    assert {"fargate ECONOMY onestep X86_64"} < {each["kind"] for each in said["figures"]}
    assert all(each["measured"] == [] for each in said["figures"])
    costs = [Decimal(each["usd"]) for each in said["frontier"]]
    times = [each["seconds"] for each in said["frontier"]]
    assert costs == sorted(costs)
    assert times == sorted(times, reverse=True)


def test_the_cheapest_in_time(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, all_of_them = plan(capsys, scenes, "--backend", "fargate", "--tier", "1")
    assert code == 0
    slowest, *faster = all_of_them["frontier"]
    assert slowest["tasks"] == 1
    for wanted in (slowest, faster[0], faster[-1]):
        deadline = f"{wanted['seconds'] + 1:.0f}s"
        code, said = plan(
            capsys, scenes, "--backend", "fargate", "--tier", "1", "--deadline", deadline
        )
        assert (code, said["chosen"]) == (0, wanted)


def test_the_fastest_for_the_money(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = plan(capsys, scenes, "--backend", "fargate", "--budget", "0.5")
    assert code == 0
    assert Decimal(said["chosen"]["usd_high"]) <= Decimal("0.5")
    faster = [p for p in said["frontier"] if p["seconds"] < said["chosen"]["seconds"]]
    assert all(Decimal(p["usd_high"]) > Decimal("0.5") for p in faster)


def test_no_plan_is_good_enough(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = plan(capsys, scenes, "--backend", "fargate", "--deadline", "30s")
    assert (code, said["fits"]) == (2, False)
    assert said["chosen"] == said["frontier"][-1]
    assert main(["plan", str(scenes), "--backend", "fargate", "--deadline", "30s"]) == 2
    assert "No plan is done in 30 s; the nearest: $" in " ".join(capsys.readouterr().out.split())


def test_bad_scenes_are_told_first(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scenes / "s03.wav").write_bytes(b"no sound")
    assert main(["plan", str(scenes)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "1 fault; nothing was started" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--deadline", "soon"], "expected a time such as 90s, 10m or 1h30m"),
        (["--budget", "0"], "Must be > 0"),
        (["--backend", "cloud"], "'cloud'; expected local, fargate, burst or addresses"),
        (["--workers", "0"], "Must be >= 1"),
        (["--tier", "9", "--backend", "fargate"], "config_priority is 9"),
    ],
)
def test_what_cannot_be_asked_for(
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
    assert said["why"] == "the fastest that costs $0.0010 at most, also if all is slow"


def test_how_it_looks(scenes: Path, tmp_path: Path) -> None:
    options = RenderOptions()
    checked = check(
        [Scene(name="s", image=scenes / "s00.png", audio=scenes / "s00.wav")], options, Limits()
    )
    checked = checked * 40
    known = candidates(Knowledge(), Where(), NATIVE, workers=None, everywhere=True)
    choice = choose(
        [work(scene, options) for scene in checked],
        known,
        deadline=200.0,
        budget=None,
        usual_known=known,
        most=4,
    )
    view = PlanView(choice, checked, options, Where(deadline=200.0), "a note on prices")
    for width in (60, 80, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(view)
        lines = console.file.getvalue().splitlines()
        assert all(len(line) <= width for line in lines)
        rows = [line for line in lines if line.startswith(("▸", "  ")) and " s " in line]
        assert 4 < len(rows) <= MOST_ROWS
        assert sum(row.startswith("▸") for row in rows) == 1
        text = " ".join(console.file.getvalue().split())
        assert ("vCPU" in lines[lines.index("") + 1]) == (width == 120)
        assert told(choice.plan).split(":")[0] in text
        assert "the cheapest that is done in 3 min 20 s" in text
        assert "The bill may be from $" in text
        assert "(assumed)" in text
        assert "a note on prices" in text


def test_figures_of_earlier_runs_count() -> None:
    size = {
        "at_once": min(usable_cores(), 4) * max(1, usable_cores() // 4),
        "cores": usable_cores(),
    }
    kind = local_kind(**size)
    write_history(
        [
            Sample(kind=kind, measure="start", seconds=9.0),
            *[
                Sample(kind=kind, measure="encode", seconds=3.0 * x, sound=x)
                for x in (5.0, 9.0, 20.0)
            ],
        ]
    )
    here = Knowledge().local(workers=None)
    assert here is not None
    assert (here.starts, here.encodes) == (1, 3)
    assert here.offer.pace.start == 9.0
    assert here.offer.pace.encode(10.0) == pytest.approx(30.0, rel=0.05)
    assert here.offer.pace.measured == {"start", "encode"}


def test_the_image_is_that_of_the_settings_or_of_the_latest_run() -> None:
    def kinds(settings: Settings) -> str:
        (one,) = Knowledge().fargate(settings, tiers=[Tier.STANDARD], workers=None)
        return one.kind

    assert kinds(Settings()) == "fargate STANDARD onestep X86_64"
    assert kinds(Settings(image="ghcr.io/a/cloudburst:1")) == "fargate STANDARD native X86_64"
    assert kinds(NATIVE) == "fargate STANDARD native X86_64"
    arm = Settings(task_definition="cloudburst-task-arm64:3", protocol=Protocol.NATIVE)
    assert kinds(arm) == "fargate STANDARD native ARM64"
    earlier = fargate_kind(Tier.ECONOMY, Protocol.NATIVE, "X86_64")
    write_history([Sample(kind=earlier, measure="start", seconds=50.0)])
    assert kinds(Settings()) == "fargate STANDARD native X86_64"
    assert kinds(Settings(protocol=Protocol.ONESTEP)) == "fargate STANDARD onestep X86_64"


def test_prices_of_tasks() -> None:
    def rate(settings: Settings, tier: Tier = Tier.STANDARD) -> Decimal:
        (one,) = Knowledge().fargate(settings, tiers=[tier], workers=None)
        return one.offer.usd_per_second

    usual = rate(NATIVE)
    assert usual == US_EAST_1.of(Tier.STANDARD)
    assert rate(Settings(public_address=False)) == US_EAST_1.of(Tier.STANDARD, public_ipv4=False)
    disk = rate(Settings(ephemeral_storage=70))
    assert disk == usual + 50 * US_EAST_1.disk_gb
    spot = rate(Where(spot=True).asked(NATIVE))
    assert spot < usual / 2
    assert (
        rate(Settings(capacity="FARGATE_SPOT:3,FARGATE:1")) == usual
    )  # the dearest that it may be
    with pytest.raises(ConfigurationError, match="capacity is"):
        rate(Settings(capacity="EC2"))


def test_workers_are_tasks_where_there_are_tasks() -> None:
    settings = Settings(subnets=("subnet-1",))

    def most(where: Where, workers: int | None, settings: Settings = settings) -> dict[str, int]:
        known = candidates(Knowledge(), where, settings, workers=workers, everywhere=False)
        return {each.offer.backend: each.offer.most for each in known}

    here = min(usable_cores(), 4)
    assert most(Where(), 7) == {"local": here, "fargate": 7}
    assert most(Where(), None) == {"local": here, "fargate": TASKS}
    assert most(Where(backend="burst"), 7) == {"local": here, "fargate": 7}
    assert most(Where(backend="local"), 3) == {"local": 3}
    assert most(Where(), 3, Settings()) == {"local": 3}
    assert most(Where(backend="http://a:5000, http://b:5000"), None) == {"endpoints": 2}


def job(**more: Any) -> Job:
    facts: dict[str, Any] = {
        "scenes": [],
        "to": Path("out"),
        "options": RenderOptions(),
        "backend": object(),
        "tier": Tier.STANDARD,
        "limits": Limits(),
        "overwrite": False,
    }
    return Job(**facts | more)


def entries(scenes: Path) -> list[dict[str, Any]]:
    return [
        {"name": path.stem, "image": path, "audio": path.with_suffix(".wav")}
        for path in sorted(scenes.glob("*.png"))
    ]


@pytest.fixture
def account() -> Settings:
    return Settings(subnets=("subnet-1",), protocol=Protocol.NATIVE)


def test_a_deadline_becomes_tier_and_tasks(scenes: Path, account: Settings) -> None:
    where = Where(backend="fargate", deadline=200.0, budget=Decimal(1))
    done = as_planned(job(scenes=entries(scenes)), where, account, workers=None)
    known = candidates(Knowledge(), where, account, workers=None, everywhere=False)
    works = [work(s, RenderOptions()) for s in check(entries(scenes), RenderOptions(), Limits())]
    choice = choose(works, known, deadline=200.0, budget=Decimal(1), usual_known=known, most=4)
    assert who(choice.plan) == f"{done.limits.workers} × {done.tier.name}"
    assert (done.limits.deadline, done.limits.max_usd) == (200.0, Decimal(1))
    assert len(done.backend) == 1  # type: ignore[arg-type]


def test_a_budget_becomes_the_fastest_run_for_it(scenes: Path, account: Settings) -> None:
    where = Where(backend="burst", budget=Decimal("0.02"))
    done = as_planned(job(scenes=entries(scenes)), where, account, workers=3)
    assert 1 <= done.limits.workers <= 3
    assert done.limits.max_usd == Decimal("0.02")
    assert done.limits.deadline is not None  # so that all of its tasks are started
    assert len(done.backend) == 2  # type: ignore[arg-type]


def test_what_this_machine_does_in_time_starts_no_task(scenes: Path, account: Settings) -> None:
    done = as_planned(job(scenes=entries(scenes)), Where(deadline=36_000.0), account, workers=None)
    assert len(done.backend) == 1  # type: ignore[arg-type]
    assert done.limits.workers == Limits().workers


def test_containers_stay_who_they_are(scenes: Path) -> None:
    backend = object()
    where = Where(backend="http://a:5000", deadline=36_000.0)
    done = as_planned(job(scenes=entries(scenes), backend=backend), where, NATIVE, workers=None)
    assert done.backend is backend


def test_a_render_that_no_plan_fits_is_not_begun(
    scenes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SUBNET_ID", "subnet-1")
    told = ["render", str(scenes), "--to", "out", "--backend", "fargate", "--deadline", "20s"]
    assert main(told) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no plan is done in 20 s; the nearest: $" in said
    assert not Path("out").exists()
