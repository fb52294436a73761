"""Our own image from its build to the bill, without Docker: init, push, pull, and a run in it.

The image is that of the lock file, on a stand-in for the official base. What was downloaded and
packed is kept in ``~/.cache``; the first run takes a minute.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst import Limits, Status, Timeouts
from cloudburst.aws.setup import init_account
from cloudburst.aws.setup.init_account import InitOptions, init
from cloudburst.image import build_image
from cloudburst.models.events import SceneStarted
from support.image_account import require_namespaces, status_of
from support.project import ROOT
from support.run_invariants import first, tried
from support.setup_accounts import bare, here, session, settings_of
from support.stand_in_base import CACHE, missing_programs, push_base, stand_in_layers

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.long(25),
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("by_the_second"),
]
STORY = ROOT / "examples" / "story"
HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture
def base(registry_server, tmp_path):
    """The reference of the base image in a registry of its own."""
    require_namespaces()
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)}")
    return push_base(registry_server, tmp_path / "base", stand_in_layers())


async def set_up(emulator, base, login):
    """Run init as a user does, with the cache of the tests; returns the settings that it writes."""

    async def build(options, on_progress):
        cache = CACHE.with_name("image")
        options = replace(options, base_credentials=login, cache_folder=cache)
        return await build_image(options, on_progress)

    report = await init(
        settings_of(emulator),
        options=InitOptions(base=base, arm64=False, env_file=None),
        find_address=here,
        session=session(),
        build_image=build,
    )
    return report.environment


def story(name):
    """One scene of the example, without its options."""
    (picture,) = [path for path in STORY.glob(f"{name}.*") if path.suffix in {".jpg", ".png"}]
    return {
        "scene_name": name,
        "image_path": str(picture),
        "audio_path": str(STORY / f"{name}.mp3"),
        "subtitle_path": str(STORY / f"{name}.srt"),
    }


async def test_init_builds_and_pushes_an_image_in_which_tasks_render(
    base, registry_server, monkeypatch, out
):
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 0.0)
    seen = {}

    def look(event):
        (task,) = [task for task in emulator.tasks if task.arn == event.task]
        seen.update(status_of(task.pid))
        seen["map"] = Path(f"/proc/{task.pid}/uid_map").read_text().split()
        root = Path(f"/proc/{task.pid}/root")
        seen["files"] = [
            (root / name).exists() for name in ("opt/cloudburst", ROOT.relative_to("/"))
        ]
        seen["command"] = Path(f"/proc/{task.pid}/cmdline").read_text().split("\0")

    with bare(registry="start", confined=True, moto=True) as emulator:
        settings = await set_up(emulator, base, registry_server.credentials)
        scenes = [story("01-harbour"), story("02-cloud")]
        trial = await tried(
            emulator,
            scenes,
            out,
            watch=first(SceneStarted, look),
            limits=Limits(workers=1),
            timeouts=Timeouts(settle=60),
            settings=settings,
            own_session=False,
        )
    assert trial.report.status is Status.COMPLETE, [one.error for one in trial.final.scenes]
    assert trial.final.cost.final
    assert trial.final.cost.usd > 0
    (task,) = trial.tasks
    (image,) = task.images.values()
    assert 50_000_000 < image.compressed_bytes < 110_000_000
    assert image.downloaded_bytes >= image.compressed_bytes
    assert task.exit_code == 0
    assert seen["command"][1:3] == ["-m", "cloudburst.service"]
    assert seen["files"] == [True, False]
    assert seen["NoNewPrivs"] == "1"
    assert int(seen["CapEff"], 16) == int(seen["CapBnd"], 16) == 0
    assert (seen["map"][0], seen["map"][2]) == ("10001", "1")
