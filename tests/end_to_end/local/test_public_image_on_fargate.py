"""The whole line with the public image's own program in the task: AWS's protocol, then its own."""

from __future__ import annotations

import anyio
import pytest

from cloudburst import Client, Limits, Settings, Status, fargate
from cloudburst.errors import KeyRefusedError
from cloudburst.models.limits import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.testing import EmulatorConfig, FargateEmulator
from cloudburst.workers.http.onestep import connect
from support import public_image
from support.checked_scenes import as_checked
from support.video_probe import probe

pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.timeout(240),
]


@pytest.mark.nightly
async def test_a_scene_goes_the_whole_way(make_scene, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "image").mkdir()
    program = public_image.program_in(tmp_path / "image")
    config = EmulatorConfig.quick(
        worker=program.command("{host}", "{port}"),
        worker_environment=program.environment,
    )
    with FargateEmulator(config) as aws:
        backend = fargate(Settings(**aws.environment))
        async with Client(backend, limits=Limits(workers=1, idle=60)) as client:
            scenes = [make_scene("one", seconds=1.0)]
            report = await client.render_all(scenes, to=tmp_path / "out")
            assert report.status is Status.COMPLETE, report.scenes[0].error
            (task,) = aws.live
            secrets, timeouts = Secrets(key="another"), Timeouts(silence=5)
            address = f"http://{task.address}:5000"
            async with connect(address, secrets=secrets, timeouts=timeouts) as stranger:
                scene = Scene.model_validate(scenes[0])
                upload = await stranger.upload(as_checked(scene))
                with pytest.raises(KeyRefusedError):
                    await stranger.encode(upload, progress=lambda _: None)
        assert not aws.live
        with anyio.fail_after(30):
            while any(task.exit_code is None for task in aws.tasks):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert {task.exit_code for task in aws.tasks} == {143}, "its init process heard SIGTERM"
    (video,) = report.videos
    facts = probe(video.path)
    assert facts.seconds == pytest.approx(1.0, abs=0.3)
    assert video.seconds == pytest.approx(1.0, abs=0.3)
