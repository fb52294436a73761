"""Tasks run the image that was pushed; a broken one ends the run early, and the error says why."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from cloudburst import Limits, Status, Timeouts
from support.image_account import ImageAccount, require_bubblewrap
from support.run_invariants import hold, tried
from support.tiny_images import OTHER_ARCHITECTURE, SHELL, TINY, define, registry_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("by_the_second"),
]


@pytest.fixture
def images(account, registry_server):
    require_bubblewrap()
    with account(registry=registry_of(registry_server), moto=False) as emulator:
        yield ImageAccount(emulator, registry_server)


def render(images, image, scenes, out, **container):
    container = {"linuxParameters": {"initProcessEnabled": True}, **container}
    define(images.emulator, image, cpu="2048", memory="4096", **container)
    settings, limits = {"ECS_TASK_DEFINITION": "tiny"}, Limits(workers=1)
    trial = partial(tried, images.emulator, scenes, out, settings=settings, limits=limits)
    return anyio.run(partial(trial, timeouts=Timeouts(settle=30)))


def test_scenes_become_videos_in_the_image(images, scenes, out):
    trial = render(images, images.add(TINY), scenes(2), out)
    hold(trial)
    assert trial.report.status is Status.COMPLETE


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ((SHELL.but(without=r"libc\.so"), ""), "exit code 127 (the command of the image"),
        ((SHELL.but(entrypoint=("python9",)), ""), '"python9": executable file not found'),
        ((SHELL, f"@sha256:{'0' * 64}"), "the image does not exist"),
        ((SHELL.but(architectures=(OTHER_ARCHITECTURE,)), ""), "another processor architecture"),
    ],
    ids=["library", "entry point", "digest", "platform"],
)
def test_a_broken_image_ends_the_run_with_the_first_task(images, scenes, out, broken, told):
    image, suffix = broken
    trial = render(images, images.add(image) + suffix, scenes(3), out)
    assert trial.report.status is Status.FAILED
    assert len(trial.tasks) == 1
    assert all(told in scene.error for scene in trial.final.scenes)


def test_a_service_that_cannot_write_to_its_volume_is_started_twice(images, scenes, out):
    image = SHELL.but(volumes=(), entrypoint=("/bin/sh", "-c", "echo x > /tmp/a"))
    trial = render(images, images.add(image), scenes(3), out)
    assert trial.report.status is Status.FAILED
    assert len(trial.tasks) == 2
    for scene in trial.final.scenes:
        assert "cloudburst logs shows its output" in scene.error
        assert scene.error.endswith("2 tasks in a row exited before they were ready")
