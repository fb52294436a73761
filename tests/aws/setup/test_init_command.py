"""``cloudburst init`` as a person types it."""

from __future__ import annotations

import json

import pytest
from cyclopts import App

from cloudburst.cli.init import init_command
from cloudburst.errors import ConfigurationError
from support.cloudformation import TEMPLATE
from support.setup_accounts import HERE, writes

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"


@pytest.fixture
def cloudburst(emulator, monkeypatch, tmp_path, capsys):
    """Runs the command with an emulated account; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DOCKER_IMAGE", "public")
    app = App()
    app.command(init_command, name="init")

    def run(*arguments):
        code = app(["init", *arguments], exit_on_error=False, result_action="return_value")
        return code, capsys.readouterr().out

    return run


def test_set_up_look_again_and_take_away(cloudburst, emulator, tmp_path):
    since = len(emulator.calls)
    code, text = cloudburst("--from", HERE, "--dry-run")
    assert code == 0
    assert "dry run: nothing is changed" in text
    assert "to create cloudburst-cluster" in text
    assert not (tmp_path / ".env").exists()
    assert writes(emulator, since) == []

    code, text = cloudburst("--from", HERE)
    assert (code, "7 created, 1 found." in text) == (0, True), text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "While no task runs, only the stored image and logs cost anything: $0.10" in text
    assert "AWS_SUBNET_ID=" in (tmp_path / ".env").read_text()

    code, text = cloudburst("--from", HERE, "--json")
    assert {step["outcome"] for step in json.loads(text)["steps"]} == {"found"}

    arguments = ("--from", "198.51.100.0/24", "--add", "--image", "me/cloudburst:2")
    with pytest.raises(ConfigurationError, match=r"cloudburst-task exists with .*: pass --replace"):
        cloudburst(*arguments)
    code, text = cloudburst(*arguments, "--replace")
    assert code == 0
    assert "port 5000 opened to" in text
    assert "closed to" not in text
    assert "DOCKER_IMAGE=me/cloudburst:2" in (tmp_path / ".env").read_text()

    code, text = cloudburst("--destroy", "--keep-logs")
    assert code == 0
    assert "with its lines, as requested" in text
    assert "AWS_SUBNET_ID is still set in .env" in text
    assert "only the stored image and logs cost anything" in text
    code, text = cloudburst("--destroy")
    assert "1 removed." in text
    assert "nothing is left that costs anything" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    code, text = cloudburst("--destroy")
    assert (code, "There are no resources of cloudburst." in text) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "there", "not_there"),
    [
        (["--policy"], "ecs:RunTask", "ecs:CreateCluster"),
        (["--policy", "init"], "ecs:CreateCluster", "ecs:RunTask"),
        (["--policy", "run", "doctor"], "iam:SimulatePrincipalPolicy", "ecs:CreateCluster"),
        (["--policy", "run", "--s3", "films/out"], "s3:PutObject", "ecs:CreateCluster"),
        (
            ["--policy", "run", "--s3", "films/out", "--s3-key", KEY],
            "kms:Decrypt",
            "ecs:CreateCluster",
        ),
    ],
)
def test_a_policy_is_json_and_changes_nothing(cloudburst, emulator, arguments, there, not_there):
    since = len(emulator.calls)
    code, text = cloudburst(*arguments)
    assert code == 0
    actions = {action for one in json.loads(text)["Statement"] for action in one["Action"]}
    assert there in actions
    assert not_there not in actions
    assert writes(emulator, since) == []


def test_the_template_is_printed_without_credentials_and_without_a_call(monkeypatch, capsys):
    monkeypatch.setenv("CLOUDBURST_CAPACITY", "no such capacity")  # settings are not read
    app = App()
    app.command(init_command, name="init")
    assert app(["init", "--template"], exit_on_error=False, result_action="return_value") == 0
    assert capsys.readouterr().out == TEMPLATE.read_text()


@pytest.mark.parametrize(
    "other",
    [["--destroy"], ["--dry-run"], ["--image", "public"], ["--no-env"], ["--policy"], ["--json"]],
)
def test_the_template_is_refused_with_another_option(cloudburst, emulator, other):
    since = len(emulator.calls)
    with pytest.raises(
        ConfigurationError, match="--template with other options; expected it alone"
    ):
        cloudburst("--template", *other)
    assert len(emulator.calls) == since


def test_options_that_contradict_each_other_are_told(cloudburst):
    with pytest.raises(ConfigurationError, match="--destroy"):
        cloudburst("--keep-logs")
    with pytest.raises(ConfigurationError, match="--keep-image without --destroy"):
        cloudburst("--keep-image")
    with pytest.raises(ConfigurationError, match="one of the two"):
        cloudburst("--open", "--from", HERE)
    with pytest.raises(ConfigurationError, match="expected an IPv4"):
        cloudburst("--from", "home")
    with pytest.raises(ConfigurationError, match="--s3: not the name of a bucket"):
        cloudburst("--s3", "My Films/")
    with pytest.raises(ConfigurationError, match=r"(?s)My Films.*\n--s3: .*Yours"):
        cloudburst("--s3", "My Films/", "--s3", "films", "--s3", "Yours/")
    for wrong in ("alias/films", KEY.replace(":key/", ":alias/"), f"{KEY}\n"):
        with pytest.raises(ConfigurationError, match="--s3-key: not the ARN of a key of KMS"):
            cloudburst("--policy", "--s3", "films", "--s3-key", wrong)
    for lone in (["--policy"], ["--s3", "films"]):
        with pytest.raises(ConfigurationError, match="--s3-key without --policy and --s3"):
            cloudburst(*lone, "--s3-key", KEY)
    with pytest.raises(ConfigurationError, match="--s3 with --destroy"):
        cloudburst("--s3", "films", "--destroy")
