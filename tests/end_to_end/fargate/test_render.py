"""The whole line: our client, AWS's protocol, a process for each task, our service, real videos."""

from __future__ import annotations

import json
import logging
import sys
from decimal import Decimal

import anyio
import pytest

from cloudburst import Limits, RenderOptions, Status, Timeouts
from cloudburst.errors import WorkerError
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets, usd_amount
from cloudburst.testing import TaskFault
from cloudburst.workers.http.certificates import new_secrets
from cloudburst.workers.http.native import connect
from support.checked_scenes import as_checked

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

SMALL = RenderOptions(size="480x270")
CUES = "1\n00:00:00,000 --> 00:00:01,000\n你好, harbour\n"


@pytest.fixture
def scenes(make_scene, tmp_path):
    made = [make_scene(f"scene {n}", seconds=0.6 + n / 10) for n in range(3)]
    (tmp_path / "cues.srt").write_text(CUES, "utf-8")
    made[1]["subtitle_path"] = str(tmp_path / "cues.srt")
    return made


async def test_three_scenes_become_videos_on_two_tasks(our_account, client_of, scenes, tmp_path):
    with our_account() as aws:
        tags = {}
        aws.on_change(lambda task: tags.setdefault(task.arn, task.tags))  # StopTask takes them away
        async with client_of(aws, options=SMALL) as client:
            report = await client.render_all(scenes, to=tmp_path / "out")
            assert report.status is Status.COMPLETE, [s.error for s in report.scenes]
            for video in report.videos:
                assert video.path.stat().st_size == video.size > 2_000
                assert video.path.read_bytes()[4:8] == b"ftyp"
            assert not aws.live, "the stop of every task was accepted"
            final = await report.settled()

        # What each task was started with.
        for task in aws.tasks:
            env = dict(task.environment)
            assert env["AUTHENTICATION_KEY"]
            assert "BEGIN CERTIFICATE" in env["CLOUDBURST_CERTIFICATE"]
            assert tags[task.arn] == {
                "CreatedBy": "animagent",
                "Purpose": "video-generation",
                "Project": "CloudBurst",
                "Language": "chinese",
                "Scene": "scene 1",  # the one with most work
                "cloudburst:run": report.run,
            }
            assert task.started_by == f"cloudburst/{report.run}"
        assert len({task.environment["AUTHENTICATION_KEY"] for task in aws.tasks}) == 2

        # The bill, from AWS's own timestamps: both tasks ran for less than a minute.
        assert final.cost.final
        assert final.cost.billed_seconds == 120
        each = Decimal(60) * (2 * Decimal("0.04048") / 3600 + 4 * Decimal("0.004445") / 3600)
        with_addresses = 2 * (each + 60 * Decimal("0.005") / 3600)
        assert final.cost.usd == pytest.approx(with_addresses, abs=Decimal("1e-11"))
        assert sum(scene.usd for scene in final.scenes) == final.cost.usd - final.cost.wasted


async def test_another_key_is_refused(quick_account, client_of, make_scene, tmp_path):
    with quick_account() as aws:
        async with client_of(aws, options=SMALL, limits=Limits(workers=1, idle=30)) as client:
            await client.render(make_scene("a"), to=tmp_path / "out")
            (task,) = aws.tasks
            scene = Scene.model_validate(make_scene("b"))
            for key, certificate in (
                ("wrong", task.environment["CLOUDBURST_CERTIFICATE"]),
                (task.environment["AUTHENTICATION_KEY"], other_certificate()),
            ):
                secrets = Secrets(key=key, certificate=certificate)
                timeouts = Timeouts(silence=2)
                async with connect(
                    f"https://{task.address}:5000", secrets=secrets, timeouts=timeouts
                ) as renderer:
                    with pytest.raises(WorkerError):
                        await renderer.upload(as_checked(scene))


def other_certificate():
    return new_secrets().certificate


LISTENER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    line, _ = server.accept()
    line.settimeout(1)
    try:
        while data := line.recv(4096):
            open(sys.argv[3], "ab").write(data)
            line.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 21\\r\\n\\r\\n")
            line.sendall(b'{"status": "healthy"}')
    except OSError:
        pass
    line.close()
"""


async def test_a_listener_without_tls_gets_no_key(our_account, client_of, make_scene, tmp_path):
    """Somebody else answers at the address of our task, in clear, and says that he is well."""
    heard = tmp_path / "heard"
    worker = (sys.executable, "-c", LISTENER, "{host}", "{port}", str(heard))
    with our_account(worker=worker) as aws:
        timeouts = Timeouts(ready=4)
        async with client_of(
            aws, limits=Limits(workers=1, attempts=1), timeouts=timeouts
        ) as client:
            report = await client.render_all([make_scene("a")], to=tmp_path / "out")
        assert report.status is Status.FAILED
        assert "WorkerNotReadyError" in report.scenes[0].error
        (task,) = aws.tasks
    said = heard.read_bytes()
    assert said, "he was talked to"
    assert task.environment["AUTHENTICATION_KEY"].encode() not in said
    assert b"HTTP" not in said


async def test_a_run_tells_no_secret(quick_account, client_of, make_scene, tmp_path, caplog):
    """Neither logs at DEBUG, nor events, report or errors have keys or certificates in them."""
    with quick_account(task_faults={0: TaskFault(registry_unreachable=True)}) as aws:
        caplog.set_level(logging.DEBUG)
        for name in list(logging.root.manager.loggerDict):
            caplog.set_level(logging.DEBUG, name)  # which restores the level, too
        told = []
        async with client_of(aws, options=SMALL, limits=Limits(workers=1)) as client:
            async with client.stream([make_scene("a")], to=tmp_path / "out") as run:
                told.extend([event.model_dump_json() async for event in run])
            report = await run.settled()
        assert report.status is Status.COMPLETE
        secrets = {aws.environment["AWS_SECRET_ACCESS_KEY"]}
        for task in aws.tasks:
            secrets |= {
                task.environment["AUTHENTICATION_KEY"],
                *task.environment["CLOUDBURST_PRIVATE_KEY"].splitlines()[1:-1],
            }
        for entry in caplog.records:
            told.append(entry.getMessage())
            told.append(str(entry.exc_info or ""))
        told += [
            report.model_dump_json(),
            repr(report),
            json.dumps(report.model_dump(), default=str),
        ]
        assert len(told) > 100, "the loggers were at DEBUG"
        whole = "\n".join(told)
        for secret in secrets:
            assert len(secret) > 15
            assert secret not in whole


@pytest.mark.nightly
async def test_private_addresses_ask_nobody(quick_account, client_of, make_scene, tmp_path):
    with quick_account(way_out="nat") as aws:
        settings = {"public_address": False}
        async with client_of(
            aws, options=SMALL, settings=settings, limits=Limits(workers=1)
        ) as client:
            report = await client.render_all([make_scene("a")], to=tmp_path / "out")
            final = await report.settled()
        assert report.status is Status.COMPLETE
        assert "DescribeNetworkInterfaces" not in {call.operation for call in aws.calls}
        rate = 2 * Decimal("0.04048") / 3600 + 4 * Decimal("0.004445") / 3600
        assert final.cost.usd == usd_amount(60 * rate)


@pytest.mark.nightly
async def test_many_clients_of_one_loop(our_account, client_of, make_scene, tmp_path):
    with our_account() as aws:

        async def one(name):
            async with client_of(aws, options=SMALL, limits=Limits(workers=1)) as client:
                await client.render(make_scene(name), to=tmp_path / "out")

        async with anyio.create_task_group() as tasks:
            for name in "ab":
                tasks.start_soon(one, name)
        assert sorted(p.name for p in (tmp_path / "out").glob("*.mp4")) == ["a.mp4", "b.mp4"]
        assert len(aws.tasks) == 2
