"""The commands and programs of the pages about AWS run, in an emulated account."""

from __future__ import annotations

import json
import re
import shlex
import sys
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from cloudburst import (
    Client,
    Settings,
    Tier,
    Timeouts,
    calculate_fargate_cost,
    fargate,
    read_scenes,
)
from cloudburst.aws.setup import init_account, logs
from cloudburst.cli.app import app, run
from cloudburst.models.locations import S3Object
from cloudburst.models.prices import IPV4_USD_PER_SECOND, PriceTable
from cloudburst.models.task import LaunchRequest, TaskSpec
from cloudburst.ports.backend import new_key
from support.doc_blocks import run_page
from support.doc_pages import ROOT, blocks, prose_of, quoted, table_of
from support.emulator_calls import client, until
from support.old_calls import without_settings
from support.s3_account import account as s3_account
from support.s3_account import content, keys, settings_of
from support.setup_accounts import bare
from support.short_waits import shorten_waits

FILMS = "films"
KEPT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
"""Variables that name the emulator and its key."""
OTHER_PROGRAMS = {"aws", "docker", "git", "mkdir", "pip", "script"}
"""Programs in the blocks that tests do not run: they need AWS, Docker or a registry of packages."""
_WORKER = """
import runpy, signal
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the emulator starts a first process that ignores it
runpy.run_path({!r}, run_name="__main__")
"""
WORKER = (sys.executable, "-c", _WORKER.format(str(ROOT / "tests/support/serve_quick.py")))
_PRICES = ROOT / "src/cloudburst/aws/client/prices.json"
PRICES = PriceTable.model_validate_json(_PRICES.read_text("utf-8"))
COSTS = "docs/aws/costs.md"


@pytest.fixture(autouse=True)
def hurried(monkeypatch, tmp_path):
    """No settings, a folder and a state of the test's own, and short waits for AWS."""
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    shorten_waits(monkeypatch)
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 0.0)
    monkeypatch.setattr(logs, "LOG_DELAY", 0.5)


@pytest.fixture(scope="module")
def new_account():
    """An account that ``init`` sets up, whose tasks run a small worker of our protocol."""
    variables = {"CLOUDBURST_HOST": "{host}", "CLOUDBURST_PORT": "{port}"}
    pytest.importorskip("moto")
    quick = {"pending": 0.05, "stop_timeout": 0.2, "role_policy_lag": 0.0}
    with bare(worker=WORKER, worker_environment=variables, **quick) as emulator:
        client(emulator, "s3").create_bucket(Bucket=FILMS)
        yield emulator


@pytest.fixture
def account(new_account, monkeypatch):
    for name in KEPT:
        monkeypatch.setenv(name, new_account.environment[name])
    # The image of the lock file takes a minute to build: tests/end_to_end/fargate has it.
    monkeypatch.setenv("DOCKER_IMAGE", "ghcr.io/you/cloudburst:1")
    return new_account


@pytest.fixture
def story(make_scene, tmp_path):
    """A short scene with the name of one of the example."""
    folder = tmp_path / "examples" / "story"
    folder.mkdir(parents=True)
    make_scene("01-harbour", seconds=0.2, folder=folder)
    return folder


@pytest.fixture
def shell(monkeypatch, capsys):
    """Run the commands of a block in this process: ``shell(code, {"text": "its replacement"})``.

    Each command of cloudburst must end with the exit code, and print what the block shows below it.
    """

    def execute(code, replaced=(), exits=0):
        for line, shown in lines_of(code):
            words = shlex.split(line, comments=True)
            words = [_replaced(word, dict(replaced)) for word in words]
            if words[0] == "export":
                monkeypatch.setenv(*words[1].split("=", 1))
            elif words[0] == "cloudburst":
                _cloudburst(words[1:], shown, exits)
            else:
                assert words[0] in OTHER_PROGRAMS, line

    def _cloudburst(words, shown, exits):
        words, file = (words[:-2], words[-1]) if ">" in words else (words, "")
        code = run(words)
        said = capsys.readouterr()
        assert code == exits, f"{words}: {said.out}{said.err}"
        if file:
            Path(file).write_text(said.out, "utf-8")
        if shown:
            assert [line.rstrip() for line in (said.out + said.err).splitlines()] == shown

    return execute


def _replaced(word, others):
    for text, other in others.items():
        word = word.replace(text, other)
    return word


def lines_of(code):
    """Yield each command of a block with the lines of its output."""
    if not re.search(r"(?m)^\$ ", code):
        yield from ((line, []) for line in code.splitlines() if line.strip())
        return
    for part in re.split(r"(?m)^\$ ", code)[1:]:
        command, *shown = part.rstrip().splitlines()
        yield command, shown


def known(code):
    """Check that the commands of a block that does not run here are commands of cloudburst."""
    for line, _ in lines_of(code):
        words = shlex.split(line.partition(" > ")[0], comments=True)
        command, _, rest = app.parse_args(words[1:], exit_on_error=False, print_error=False)
        assert callable(command)
        assert not (isinstance(rest, list) and rest)


def launch(emulator):
    """Start a task as another machine would, and return its id."""
    settings = Settings()
    ecs = client(emulator, "ecs")
    network = {"subnets": list(settings.subnets), "securityGroups": list(settings.security_groups)}
    (task,) = ecs.run_task(
        cluster=settings.cluster,
        taskDefinition=settings.task_definition,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {**network, "assignPublicIp": "ENABLED"}},
        tags=[{"key": "CreatedBy", "value": "animagent"}],
    )["tasks"]
    until(lambda: emulator.tasks[-1].last_status in {"RUNNING", "STOPPED"})
    assert emulator.tasks[-1].last_status == "RUNNING", emulator.tasks[-1]
    return task["taskArn"].rpartition("/")[2]


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
def test_aws_in_ten_minutes(account, story, shell):
    ec2, ecs = client(account, "ec2"), client(account, "ecs")
    task = ""

    def mine(code):
        (vpc,) = ec2.describe_vpcs()["Vpcs"]
        subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
        group = ec2.create_security_group(GroupName="mine", Description="-", VpcId=vpc["VpcId"])
        ec2.authorize_security_group_ingress(
            GroupId=group["GroupId"],
            IpProtocol="tcp",
            FromPort=5000,
            ToPort=5000,
            CidrIp="127.0.0.1/32",
        )
        names = dict(zip(("subnet-0123", "subnet-4567"), subnets, strict=True))
        shell(code, {**names, "sg-0123": group["GroupId"]})
        assert "ECS_CLUSTER_NAME=my-cluster" in Path(".env").read_text("utf-8")
        assert f"AWS_SUBNET_ID={','.join(subnets)}" in Path(".env").read_text("utf-8")
        assert ecs.list_clusters()["clusterArns"][0].endswith("my-cluster")

    def stopped(code):
        nonlocal task
        task = launch(account)
        shell(code)
        try:
            until(lambda: not account.live)
        except AssertionError as exc:
            exc.add_note(f"{account.tasks}\n{account.calls[-20:]}")
            raise

    run_page(
        "docs/aws/index.md",
        instead={
            "$ pip install": shell,
            "my-cluster": mine,
            "--template": shell,
            "cloudburst tasks": stopped,
            "--follow": lambda code: shell(code, {"4f2a91c0": task[:8]}),
            "doctor --workers 10": lambda code: shell(code, exits=1),  # the quota is 6 vCPU
            "git pull": shell,
            "init --destroy --dry-run": shell,
        },
    )
    assert len(list(Path("videos").glob("*.mp4"))) == 1
    assert Path("cloudburst.yaml").read_text("utf-8").startswith("AWSTemplateFormatVersion")
    assert not ecs.list_clusters()["clusterArns"]


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
def test_the_first_hour(account, make_scene, shell, tmp_path):
    """The steps that stop at a person's question or need another network are only parsed."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name in "ab":
        make_scene(name, seconds=0.2, folder=folder)
    here = {"BUCKET": FILMS, "eu-west-1": "us-east-1"}
    run_page(
        "docs/aws/first-account.md",
        instead={
            "script -q": lambda code: shell(code, here),
            "cloudburst init\ncloudburst doctor": shell,
            "--workers 2": shell,
            "--live --s3": lambda code: known(code.replace("BUCKET", FILMS)),
            "--keep-image": shell,
            "cloudburst-render-arm64": shell,
            "cloudburst tasks": shell,
        },
    )
    for name in ("init", "live", "destroy"):
        assert json.loads(Path(f"{name}.json").read_text("utf-8"))["Statement"]


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(60)
def test_security(account, shell):
    shell("cloudburst init")
    run_page(
        "docs/aws/security.md",
        instead={"init --add": shell, "init --policy": shell, "create-policy": shell},
    )
    rules = client(account, "ec2").describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": [Settings().security_groups[0]]}]
    )["SecurityGroupRules"]
    assert "0.0.0.0/0" in {rule.get("CidrIpv4") for rule in rules if not rule["IsEgress"]}
    for name in ("run", "init", "other", "s3"):
        assert json.loads(Path(f"{name}.json").read_text("utf-8"))["Statement"]
    assert FILMS in Path("s3.json").read_text("utf-8")


def test_the_image():
    """Building needs a base image and packages from the internet; tests/image builds images."""
    run_page("docs/aws/image.md", instead={"image build": known, "buildx": "needs Docker"})


@pytest.fixture
def costs_account(monkeypatch):
    """An account that is set up, with our protocol."""
    variables = {"CLOUDBURST_HOST": "{host}", "CLOUDBURST_PORT": "{port}"}
    with s3_account(worker=WORKER, worker_environment=variables, protocol="native") as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def output(shell, monkeypatch):
    """Compare the block of a command with its output for the whole example."""

    def compare(code):
        with monkeypatch.context() as patch:
            patch.chdir(ROOT)
            shell(code)

    return compare


@pytest.mark.parametrize("code", blocks(COSTS, "console"))
def test_prices_and_plans_are_shown_as_they_are(code, output):
    output(code)


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
def test_costs(costs_account, story, shell, output, capsys):
    run_page(
        COSTS,
        instead={
            "plan examples/story": output,
            "--budget 0.50": shell,
            "--deadline 10m": shell,
            "cloudburst prices": output,
        },
    )
    out = capsys.readouterr().out
    assert out.count("1 video of 1 scene") == 1  # of the burst
    assert re.search(r"^machine None \d+ \S+ 0\S* (True|False)$", out, re.MULTILINE)
    assert re.search(r"^complete \$0\.\d+ \(estimate\)\n\$0\.\d+$", out, re.MULTILINE)


def test_what_is_billed():
    text = " ".join(" ".join(row) for row in table_of(COSTS, "vCPU and memory"))
    assert "at least 60 seconds" in text
    assert calculate_fargate_cost(1).billed_seconds == 60
    assert f"${3600 * IPV4_USD_PER_SECOND:.3f} an hour" in text


def test_how_much_less_spot_and_arm_cost():
    text = prose_of(COSTS)
    assert f"about {100 * (1 - PRICES.spot_factor):.0f} % cheaper" in text
    x86, arm = PRICES.rates("us-east-1"), PRICES.rates("us-east-1", architecture="ARM64")
    assert f"costs {100 * (1 - arm.vcpu / x86.vcpu):.0f} % less per second" in text


def test_what_a_forgotten_task_costs():
    rates = PRICES.rates("us-east-1")
    usual, most = (
        3600 * rates.task_usd_per_second(tier, public_ipv4=True)
        for tier in (Tier.STANDARD, Tier.MAXIMUM_PERFORMANCE)
    )
    text = prose_of("docs/aws/index.md")
    assert f"${usual:.2f} for `STANDARD`, ${most:.2f} for the largest size" in text
    assert usual / 12 < Decimal("0.01"), "less than a cent"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_tags():
    """A task has the tags that the page names and no others."""
    spec = TaskSpec(scene="第一幕 <1>", run="run-1", language="english")
    request = LaunchRequest(spec=spec, token="token", secrets=new_key())
    with s3_account(provisioning=600) as emulator:
        async with fargate(settings_of(emulator))(Timeouts(), Tier.STANDARD) as backend:
            await backend.launcher.launch(request)
        (task,) = emulator.tasks
    (sentence,) = re.findall(r"group by the tags of the tasks: ([^.]+)\.", prose_of(COSTS))
    assert task.started_by == "cloudburst/run-1"
    assert task.tags == {
        "CreatedBy": "animagent",
        "Purpose": "video-generation",
        "Scene": "第一幕 _1_",
        "Language": "english",
        "Project": "CloudBurst",
        "cloudburst:run": "run-1",
    }
    assert set(quoted(sentence)) == task.tags.keys()


SCENES = {
    "one": {"image": "one.png", "audio": "one.mp3", "subtitle": "one.srt"},
    "two": {"image": "two.jpg", "audio": "two.wav"},
}


@pytest.fixture
def films(account, make_scene):
    """The account of a bucket that has the folder of the recipe only."""
    s3 = client(account, "s3")
    for key in keys(account, FILMS):
        s3.delete_object(Bucket=FILMS, Key=key)
    put_scenes(s3, make_scene)
    return account


@pytest.fixture
def ready_films(costs_account, make_scene):
    """An account that is set up, with such a bucket."""
    s3 = client(costs_account, "s3")
    s3.create_bucket(Bucket=FILMS)
    put_scenes(s3, make_scene)
    return costs_account


def put_scenes(s3, make_scene):
    subtitles = b"1\n00:00:00,000 --> 00:00:00,100\nhello\n"
    for name, files in SCENES.items():
        scene = make_scene(name, seconds=0.2)
        sources = {"image": scene["image_path"], "audio": scene["audio_path"]}
        for field, file in files.items():
            body = Path(sources[field]).read_bytes() if field in sources else subtitles
            s3.put_object(Bucket=FILMS, Key=f"in/{file}", Body=body)


def written(emulator):
    """Return the time of each object in the bucket."""
    found = client(emulator, "s3").list_objects_v2(Bucket=FILMS)["Contents"]
    return {one["Key"]: one["LastModified"] for one in found}


@pytest.mark.real
@pytest.mark.timeout(120)
def test_from_s3_to_s3(ready_films, shell, capsys):
    def permissions(code):
        policy, _ = code.splitlines()
        shell(policy)
        known(code)  # the account is set up

    def program(code):
        exec(compile(code, "docs/cookbook/s3.md", "exec"), {"__name__": "__main__"})
        assert "s3://films/program/one.mp4 " in capsys.readouterr().out

    run_page(
        "docs/cookbook/s3.md",
        instead={
            "cloudburst init": permissions,
            "cloudburst render": shell,
            "import asyncio": program,
            "cloudburst resume": shell,
            "cloudburst emulate": known,
            "aws s3 mb": shell,
        },
    )
    out = ["out/one.mp4", "out/two.mp4", "program/one.mp4", "program/two.mp4"]
    assert [key for key in keys(ready_films, FILMS) if not key.startswith("in/")] == out
    assert content(ready_films, S3Object(FILMS, "out/one.mp4"))[4:8] == b"ftyp"
    assert run(["render", "s3://films/in/", "--to", "s3://films/out/"]) == 2
    assert "2 videos there already; --overwrite replaces them" in capsys.readouterr().err
    assert FILMS in Path("run.json").read_text("utf-8")


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
def test_files_in_s3(films, shell, monkeypatch, tmp_path, capsys):
    """The program resumes a run of another machine, whose journal it has not."""

    def resume(code):
        async def first():
            async with Client() as opened:
                scenes = await anyio.to_thread.run_sync(read_scenes, "s3://films/in/")
                await opened.render_all(scenes, to="s3://films/out/", name="tonight")

        anyio.run(first)
        (listed,) = (one for one in blocks("docs/aws/s3.md", "sh") if "cloudburst runs" in one)
        shell(listed)
        before = written(films)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other-state"))
        exec(compile(code, "docs/aws/s3.md", "exec"), {"__name__": "__main__"})
        assert written(films) == before

    run_page(
        "docs/aws/s3.md",
        instead={
            "cloudburst init --s3 films/out": shell,
            "--s3-key": shell,
            "cloudburst runs": "after the run of the program",
            'name="tonight"': resume,
        },
    )
    assert "2 videos of 2 scenes" in capsys.readouterr().out
    assert "kms:Decrypt" in Path("run.json").read_text("utf-8")


def test_faults_in_s3_are_shown_as_they_are(costs_account, make_scene, shell):
    s3 = client(costs_account, "s3")
    s3.create_bucket(Bucket=FILMS)
    sound = Path(make_scene("one")["audio_path"])
    s3.put_object(Bucket=FILMS, Key="in/one.mp3", Body=sound.read_bytes())
    (shown,) = blocks("docs/aws/s3.md", "text")
    Path("scenes.json").write_text(
        '[{"name": "one", "image": "s3://films/in/one.png", "audio": "s3://films/in/one.mp3"}]'
    )
    shell(shown, exits=2)
