"""Post-mortems of tasks that failed, which delay no run."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from cloudburst.engine.journal_writer import POST_MORTEM_GRACE, POST_MORTEM_TIMEOUT
from cloudburst.errors import NoAnswerError
from cloudburst.models.failures import classify_stop
from cloudburst.models.limits import Limits
from cloudburst.models.post_mortem_page import build_page, file_name
from cloudburst.models.report import Status
from cloudburst.models.task import TaskId
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import engine

pytestmark = pytest.mark.anyio


class Notes:
    """A journal in memory."""

    def __init__(self, *, error=None, takes=0.0):
        self.pages = {}
        self.error, self.takes = error, takes

    def now(self):
        return anyio.current_time()

    async def write(self, *entries):
        """Nothing: pages are what counts here."""

    async def save_file(self, name, text):
        await anyio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        self.pages[name] = text
        return Path("kept") / name


async def rendered(cloud, scenes, journal, **limits):
    began = anyio.current_time()
    async with engine(cloud, limits=Limits(workers=1, **limits)) as e:
        async with e.open(scenes, journal=journal) as run:
            report = await run.until_done()
        return report, anyio.current_time() - began


async def test_a_task_that_exited_has_a_post_mortem(caplog):
    cloud = FakeCloud(encode=10.0, crashing_tasks={"fake-1": 3.0})
    notes = Notes()
    report, _ = await rendered(cloud, ["a"], notes)
    assert report.status is Status.COMPLETE
    assert list(notes.pages) == ["post-mortem-fake-1.md"]
    text = notes.pages["post-mortem-fake-1.md"]
    assert text.startswith(
        "# Task fake-1 failed\n\nSeen from here: WorkerStoppedError: task fake-1 "
    )
    assert "the last line of fake-1" in text
    kept = Path("kept/post-mortem-fake-1.md")
    assert [worker.post_mortem for worker in report.workers] == [kept, None]
    assert report.model_dump(mode="json")["workers"][0]["post_mortem"] == str(kept)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any("kept" in text and "fake-1" in text for text in warned)


async def test_a_task_that_never_answered_has_a_post_mortem():
    cloud = FakeCloud(silent_tasks={"fake-1"})
    notes = Notes()
    await rendered(cloud, ["a"], notes)
    assert list(notes.pages) == ["post-mortem-fake-1.md"]


async def test_own_stops_and_spot_have_no_post_mortem():
    notes = Notes()
    await rendered(FakeCloud(encode=1.0), ["a", "b"], notes)
    spot = FakeCloud(encode=10.0, interrupted_tasks={"fake-1": (2.0, 3.0)})
    report, _ = await rendered(spot, ["a"], notes)
    assert "SpotInterruption" in str(report.model_dump()) or len(report.workers) == 2
    async with engine(FakeCloud(encode=10.0)) as e, e.open("a", journal=notes):
        await anyio.sleep(3)  # and it is left, with a scene under way
    refused = FakeCloud(refuse=[NoAnswerError("lost")] * 50)
    async with engine(refused) as e, e.open("a", journal=notes):
        await anyio.sleep(3)
    assert not notes.pages


class Busy(FakeRenderer):
    """A worker that is left with something that nobody waits for."""

    @property
    def has_abandoned_encode(self):
        return self.task == "fake-1"


class Busied(FakeCloud):
    @asynccontextmanager
    async def connect(self, address, *, secrets):
        yield Busy(self, TaskId(address))


async def test_a_healthy_worker_that_is_given_up_has_no_post_mortem():
    notes = Notes()
    report, _ = await rendered(Busied(encode=1.0), ["a", "b"], notes)
    assert report.status is Status.COMPLETE
    assert report.workers[0].error is None
    assert not notes.pages


async def test_a_run_without_a_journal_has_no_post_mortem():
    cloud = FakeCloud(encode=10.0, crashing_tasks={"fake-1": 3.0}, post_mortem_takes=4.0)
    without, ended = await rendered(cloud, ["a"], None)
    assert [worker.post_mortem for worker in without.workers] == [None, None]
    assert ended < 14 + 4


async def test_the_end_of_a_run_waits_for_it_a_few_seconds_and_no_longer():
    def cloud(takes):
        return FakeCloud(crashing_tasks={"fake-1": 0.0}, post_mortem_takes=takes)

    _, without = await rendered(cloud(0.0), ["a"], Notes())
    report, ended = await rendered(cloud(3.0), ["a"], Notes())
    assert report.workers[0].post_mortem is not None
    assert ended <= without + 4
    report, ended = await rendered(cloud(POST_MORTEM_TIMEOUT - 1), ["a"], Notes())
    assert report.status is Status.COMPLETE
    assert ended <= without + POST_MORTEM_GRACE + 1


async def test_a_late_post_mortem_is_in_a_later_report():
    cloud = FakeCloud(crashing_tasks={"fake-1": 0.0}, post_mortem_takes=POST_MORTEM_GRACE + 2)
    async with engine(cloud, limits=Limits(workers=1)) as e:
        async with e.open("a", journal=Notes()) as run:
            assert (await run.until_done()).workers[0].post_mortem is None
        await anyio.sleep(10)
        assert (await run.report()).workers[0].post_mortem is not None


async def test_a_slow_post_mortem_is_given_up(caplog):
    cloud = FakeCloud(crashing_tasks={"fake-1": 0.0}, encode=60.0, post_mortem_takes=1000.0)
    report, ended = await rendered(cloud, ["a"], Notes())
    assert ended < 100
    assert report.workers[0].post_mortem is None
    assert f"no post-mortem within {POST_MORTEM_TIMEOUT:g} s" in caplog.text


@pytest.mark.parametrize("error", [OSError("full"), NoAnswerError("lost"), ZeroDivisionError()])
async def test_what_goes_wrong_with_it_fails_nothing(error, caplog):
    cloud = FakeCloud(encode=10.0, crashing_tasks={"fake-1": 3.0})
    report, _ = await rendered(cloud, ["a", "b"], Notes(error=error))
    assert report.status is Status.COMPLETE
    assert "fake-1: no post-mortem" in caplog.text


async def test_a_post_mortem_begins_after_the_stop_and_delays_no_other():
    """Both workers fail; the second one is stopped while the first one's page is written."""
    cloud = FakeCloud(encode=20.0, silent_tasks={"fake-1"}, post_mortem_takes=2.0)
    asked = []
    plain = cloud.post_mortem

    async def noting(task):
        asked.append((task, task in cloud.running))
        return await plain(task)

    cloud.post_mortem = noting
    await rendered(cloud, ["a"], Notes())
    assert asked == [("fake-1", False)]


def test_what_a_page_looks_like():
    failure = classify_stop("EssentialContainerExited", ["OutOfMemoryError: killed"], [137])
    text = build_page(
        "abc",
        failure=failure,
        facts={"reason": "OutOfMemoryError: killed", "zone": "", "exit": 137},
        lines=["one", "``` \x1b[2J two"],
        more={"All": '{\n "a": 1\n}'},
    )
    assert text == (
        "# Task abc failed\n\n"
        "**The task had too little memory.**\n\n"
        "What to do: choose a larger tier, or add size to CLOUDBURST_FALLBACKS.\n\n"
        "- reason: OutOfMemoryError: killed\n- exit: 137\n\n"
        "## Last lines\n\n"
        "    one\n    ``` �[2J two\n\n"
        "## All\n\n"
        '    {\n     "a": 1\n    }\n'
    )


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("arn:aws:ecs:us-east-1:1:task/c/0123abcd", "post-mortem-0123abcd.md"),
        ("local-12ab", "post-mortem-local-12ab.md"),
        ("http://10.0.0.1:5000#3", "post-mortem-10.0.0.1_5000_3.md"),
    ],
)
def test_names_that_any_file_system_takes(task, name):
    assert file_name(task) == name
