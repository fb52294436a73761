"""Which image and which task definition the settings name."""

from __future__ import annotations

import pytest

from cloudburst.aws.setup.resource_definitions import is_our_image, reference_to_set_up
from cloudburst.models.settings import OWN_IMAGE, PUBLIC_IMAGE_NAME, Settings


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
