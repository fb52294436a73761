"""Our own image from its build to the bill, without Docker: init, push, pull, and a run in it.

The run is one from S3 to S3 with a film, so that the image must have all that this needs.

The image is that of the lock file, on a stand-in for the official base. What was downloaded and
packed is kept in ``~/.cache``; the first run takes a minute.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst import Client, Limits, RenderOptions, Status, Timeouts, fargate
from cloudburst.aws.setup import init_account
from cloudburst.aws.setup.init_account import InitOptions, init
from cloudburst.events import SceneStarted
from cloudburst.image.build import build_image
from support import emulator_settings
from support.film_scenes import RATE, sine, write_sound
from support.image_account import require_bubblewrap, status_of
from support.project import ROOT
from support.setup_accounts import bare, client, here, session, settings_of
from support.stand_in_base import CACHE, push_base, stand_in_layers

pytestmark = [
    pytest.mark.whole_image,
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.long(25),
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("by_the_second"),
]
STORY = ROOT / "examples" / "story"
BUCKET = "films"


@pytest.fixture
def base(registry_server, tmp_path):
    """The reference of the base image in a registry of its own."""
    require_bubblewrap()
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


def story(s3, name, sound):
    """One scene of the example, without its options: the sound is here, the rest in S3."""
    (picture,) = [path for path in STORY.glob(f"{name}.*") if path.suffix in {".jpg", ".png"}]
    subtitle = STORY / f"{name}.srt"
    for path in (picture, subtitle):
        s3.put_object(Bucket=BUCKET, Key=f"in/{path.name}", Body=path.read_bytes())
    return {
        "scene_name": name,
        "image_path": f"s3://{BUCKET}/in/{picture.name}",
        "audio_path": str(sound),
        "subtitle_path": f"s3://{BUCKET}/in/{subtitle.name}",
    }


async def rendered(settings, scenes, watch):
    """Render scenes and their film to S3, with covers; returns the report with the final bill."""
    limits, timeouts = Limits(workers=1), Timeouts(settle=60)
    options = RenderOptions(cover=True)
    async with (
        Client(fargate(settings), options=options, limits=limits, timeouts=timeouts) as opened,
        opened.stream(
            scenes, to=f"s3://{BUCKET}/out/", film=f"s3://{BUCKET}/story.mp4", transition="fade"
        ) as run,
    ):
        async for event in run:
            watch(event)
        return await run.settled()


async def test_init_builds_and_pushes_an_image_in_which_tasks_render(
    base, registry_server, monkeypatch, tmp_path
):
    """One sound is a steady tone in a wav file, which FFmpeg 9 takes for another format."""
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 0.0)
    seen = {}

    def look(event):
        if not isinstance(event, SceneStarted) or seen:
            return
        (task,) = [task for task in emulator.tasks if task.arn == event.task]
        seen.update(status_of(task.pid))
        seen["map"] = Path(f"/proc/{task.pid}/uid_map").read_text().split()
        root = Path(f"/proc/{task.pid}/root")
        seen["files"] = [
            (root / name).exists() for name in ("opt/cloudburst", ROOT.relative_to("/"))
        ]
        seen["command"] = Path(f"/proc/{task.pid}/cmdline").read_text().split("\0")

    with bare(registry="start", moto=True) as emulator:
        settings = await set_up(emulator, base, registry_server.credentials)
        s3 = client(emulator, "s3")
        s3.create_bucket(Bucket=BUCKET)
        write_sound(tmp_path / "tone.wav", sine(0, 7 * RATE, 1500))
        scenes = [
            story(s3, "01-harbour", STORY / "01-harbour.mp3"),
            story(s3, "02-cloud", tmp_path / "tone.wav"),
        ]
        settings = emulator_settings.settings_of(emulator, **settings)
        report = await rendered(settings, scenes, look)
        listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
        tasks = emulator.tasks
    assert report.status is Status.COMPLETE, [one.error for one in report.scenes]
    assert report.film_error is None
    assert {key for entry in listed if not (key := entry["Key"]).startswith("in/")} == {
        *(f"out/{scene['scene_name']}{kind}" for scene in scenes for kind in (".mp4", ".jpg")),
        *(f"story{kind}" for kind in (".mp4", ".jpg", ".srt")),
    }
    assert report.cost.final
    assert report.cost.usd > 0
    (task,) = tasks
    (image,) = task.images.values()
    assert 50_000_000 < image.compressed_bytes < 110_000_000
    assert task.exit_code == 0
    assert seen["command"][1:3] == ["-m", "cloudburst.service"]
    assert seen["files"] == [True, False]
    assert seen["NoNewPrivs"] == "1"
    assert int(seen["CapEff"], 16) == 0
    assert (seen["map"][0], seen["map"][2]) == ("10001", "1")
