"""Which image and which task definition the settings name."""

from __future__ import annotations

import pytest

from cloudburst.aws.setup.resource_definitions import is_our_image, reference_to_set_up
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import OWN_IMAGE, PUBLIC_IMAGE_NAME, Settings, read_env_file


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("DOCKER_IMAGE", "ECS_TASK_DEFINITION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "image"),
    [
        (None, OWN_IMAGE),
        ("", OWN_IMAGE),
        (" own ", OWN_IMAGE),
        ("public", PUBLIC_IMAGE_NAME),
        ("docker.io/library/public", "docker.io/library/public"),
        ("ghcr.io/me/x:1", "ghcr.io/me/x:1"),
    ],
)
def test_the_image_is_our_own_unless_another_one_is_named(monkeypatch, given, image):
    if given is not None:
        monkeypatch.setenv("DOCKER_IMAGE", given)
    assert Settings().image == image
    assert is_our_image(Settings().image) is (image == OWN_IMAGE)


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({}, "cloudburst-render"),
        ({"image": "ghcr.io/me/x:1"}, "cloudburst-render"),
        ({"image": "public"}, "cloudburst-task"),
        ({"task_definition": "cloudburst-task"}, "cloudburst-task"),
        ({"task_definition": "film:3", "image": "public"}, "film:3"),
    ],
)
def test_init_leaves_the_family_of_the_old_client_to_its_image(settings, reference):
    assert reference_to_set_up(Settings(**settings)) == reference


def test_a_family_that_is_named_counts_even_if_it_is_the_default(monkeypatch):
    assert Settings().task_definition == "cloudburst-task"
    assert not Settings().names_task_definition
    monkeypatch.setenv("ECS_TASK_DEFINITION", "cloudburst-task")
    assert Settings().names_task_definition
    assert Settings().model_copy(update={"image": "x"}).names_task_definition


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_settings_are_read_from_the_env_file_of_the_current_folder(folder):
    (folder / ".env").write_text("AWS_SUBNET_ID=subnet-1\naws_region=eu-west-1\n")
    settings = Settings()
    assert (settings.subnets, settings.region) == (("subnet-1",), "eu-west-1")
    assert settings.origin("subnets") == "AWS_SUBNET_ID in .env"
    assert settings.origin("cluster") == ""
    assert Settings(_env_file=None).subnets == ()
    (folder / "other").write_text("AWS_SUBNET_ID=subnet-2\n")
    assert Settings(_env_file=folder / "other").subnets == ("subnet-2",)


def test_arguments_go_before_the_environment_and_the_environment_before_the_file(
    folder, monkeypatch
):
    (folder / ".env").write_text("DOCKER_IMAGE=a\nECS_CLUSTER_NAME=a\nAWS_PROFILE=a\n")
    monkeypatch.setenv("DOCKER_IMAGE", "b")
    monkeypatch.setenv("ECS_CLUSTER_NAME", "b")
    settings = Settings(image="c")
    assert (settings.image, settings.cluster, settings.profile) == ("c", "b", "a")
    names = ("image", "cluster", "profile")
    assert [settings.is_from_file(name) for name in names] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("capcity", "capacity"),
        ("subnet", "subnets"),
        ("AWS_SUBNET_IDS", "AWS_SUBNET_ID"),
        ("CLOUDBURST_CAPACITIES", "CLOUDBURST_CAPACITY"),
        ("zzz", "one of access_key_id, "),
        ("_case_sensitive", "one of access_key_id, "),
    ],
)
def test_a_name_that_is_no_setting_is_refused_with_the_nearest_one(name, near):
    with pytest.raises(ConfigurationError, match=f"^{name} is not a setting; expected {near}"):
        Settings(**{name: "x"})


def test_all_names_that_are_no_settings_are_reported_together():
    with pytest.raises(ConfigurationError, match=r"capcity is not .*; regoin is not a setting"):
        Settings(capcity="FARGATE_SPOT", regoin="eu-west-1")


def test_variables_of_other_programs_are_ignored():
    assert Settings(NO_PROXY="*", AWS_SUBNET_ID="subnet-1").subnets == ("subnet-1",)


def test_invalid_values_are_one_configuration_error():
    with pytest.raises(ConfigurationError, match=r"idle: .*; lifetime: |lifetime: .*; idle: "):
        Settings(idle=-1, lifetime=0)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_that_is_no_url_is_a_configuration_error(name, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text(f"{name}=https://[\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"{name} in \.env: .*Invalid IPv6 URL"):
        Settings()
    monkeypatch.setenv(name, "")
    assert Settings().endpoint_url is None
    assert Settings().s3_endpoint_url is None


def test_a_large_env_file_is_rejected_before_it_is_parsed(tmp_path):
    (tmp_path / ".env").write_text(f"A=x{' ' * 2**15}y")
    with pytest.raises(OSError, match="32768 bytes"):
        read_env_file(tmp_path / ".env")
