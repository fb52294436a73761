"""Progress of runs in programs: on a terminal, as lines, in a notebook, and as log records."""

from __future__ import annotations

import io
import logging
import re
import sys
from types import ModuleType

import anyio
import pytest

import cloudburst
from cloudburst import Client, Status, blocking
from cloudburst.errors import ConfigurationError, InvalidScenesError
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"  # displays write in threads


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def error_output(monkeypatch):
    """Return a function that replaces standard error within a test: by a terminal, or a pipe."""

    def replace(output):
        monkeypatch.setattr(sys, "stderr", output)
        return output

    return replace


@pytest.fixture
def terminal(error_output, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return lambda: error_output(Terminal())


async def test_lines_are_written_to_a_pipe(make_scene, tmp_path, error_output, capsys):
    cloud, pipe = FakeCloud(broken_scenes={"b"}), error_output(io.StringIO())
    report = await cloudburst.render_all(
        [make_scene("a"), make_scene("b")], to=tmp_path, backend=cloud.backend, progress=True
    )
    assert report.status is Status.PARTIAL
    lines = pipe.getvalue()
    assert "\x1b" not in lines
    assert "worker 1 is ready" in lines
    assert lines.count(" done, ") == 1
    assert lines.count("b: failed: ") == 1
    assert "2 scenes" not in lines, "no summary"
    assert capsys.readouterr().out == ""


def is_removed(screen):
    """Return whether the cursor was hidden, and is shown again at the end, after erased lines."""
    hidden, _, rest = screen.getvalue().rpartition("\x1b[?25h")
    return "\x1b[?25l" in hidden and re.fullmatch(r"\n?(\r|\x1b\[(1A|2K))+", rest)


async def test_a_live_view_is_drawn_in_a_terminal_and_removed(make_scene, tmp_path, terminal):
    cloud, screen = FakeCloud(encode=0.5), terminal()
    async with Client(cloud.backend) as client:
        await client.render(make_scene("a"), to=tmp_path, progress=True)
    assert "0 of 1 scene" in screen.getvalue()
    assert is_removed(screen)


@pytest.mark.parametrize("log", ["of CI with a terminal", "with FORCE_COLOR"])
async def test_a_log_has_no_live_view(log, make_scene, tmp_path, error_output, monkeypatch):
    name, output = ("CI", Terminal()) if "CI" in log else ("FORCE_COLOR", io.StringIO())
    monkeypatch.setenv(name, "true")
    error_output(output)
    await cloudburst.render(
        make_scene("a"), to=tmp_path, backend=FakeCloud().backend, progress=True
    )
    assert "worker 1 is ready" in output.getvalue()
    assert "\x1b[?25l" not in output.getvalue()
    assert "\r" not in output.getvalue()


@pytest.mark.parametrize("given", ["nothing", False])
def test_nothing_is_shown_unless_it_is_asked_for(given, make_scene, tmp_path, terminal):
    screen, cloud = terminal(), FakeCloud()
    progress = {} if given == "nothing" else {"progress": given}
    blocking.render(make_scene(), to=tmp_path, backend=cloud.backend, **progress)
    assert screen.getvalue() == ""


async def test_a_cancelled_call_leaves_the_terminal_as_it_was(make_scene, tmp_path, terminal):
    cloud, screen = FakeCloud(encode=60), terminal()
    async with Client(cloud.backend) as client, anyio.create_task_group() as tasks:

        async def render():
            await client.render_all([make_scene()], to=tmp_path, progress=True)

        tasks.start_soon(render)
        while "encoding" not in screen.getvalue():  # noqa: ASYNC110 - a text has no event
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert is_removed(screen)
    assert not cloud.running


async def test_log_records_are_written_above_the_live_view(
    make_scene, tmp_path, terminal, monkeypatch, caplog
):
    screen = terminal()
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    caplog.set_level(logging.INFO, "cloudburst.runs")
    async with Client(FakeCloud(boot=0.5).backend) as client:
        await client.render(make_scene("a"), to=tmp_path, progress=True)
    # The view is erased first, and drawn again below.
    assert re.search(r"\x1b\[2Krun \w+: worker 1 is ready *\n", screen.getvalue())
    assert handler.stream is screen


async def test_faults_leave_as_they_are(make_scene, tmp_path, terminal):
    terminal()
    with pytest.raises(InvalidScenesError):
        await cloudburst.render_all(
            [make_scene() | {"image_path": "none"}], to=tmp_path, progress=True
        )


async def test_a_run_goes_on_when_nobody_reads_its_progress(make_scene, tmp_path, error_output):
    class Closed(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    error_output(Closed())
    report = await cloudburst.render_all(
        [make_scene()], to=tmp_path, backend=FakeCloud().backend, progress=True
    )
    assert report.status is Status.COMPLETE


async def test_without_rich_nothing_is_started(make_scene, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cloudburst.display.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    cloud = FakeCloud()
    with pytest.raises(ConfigurationError, match=r"rich: pip install 'cloudburst-sdk\[cli\]'"):
        await cloudburst.render_all(
            [make_scene()], to=tmp_path, backend=cloud.backend, progress=True
        )
    assert not cloud.launched
    assert not list(tmp_path.glob("*.mp4"))


class Output:
    """Output of a notebook, with everything that was drawn in it."""

    def __init__(self):
        self.drawn = []

    def update(self, bundle, *, raw):
        assert raw
        self.drawn.append(bundle)


@pytest.fixture
def notebook(monkeypatch):
    """Make this process look like a notebook; return its outputs."""
    outputs = []

    def display(bundle, *, raw, display_id):
        assert raw
        assert display_id
        outputs.append(Output())
        outputs[-1].update(bundle, raw=True)
        return outputs[-1]

    class ZMQInteractiveShell:
        pass

    module = ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    return outputs


async def test_a_notebook_has_one_output_with_the_failures_at_the_end(
    make_scene, tmp_path, notebook, capsys
):
    cloud = FakeCloud(encode=1.2, broken_scenes={"b&b"})
    await cloudburst.render_all(
        [make_scene("a"), make_scene("b&b")], to=tmp_path, backend=cloud.backend, progress=True
    )
    (output,) = notebook
    assert any("of 2 scenes" in bundle["text/plain"] for bundle in output.drawn)
    assert len(output.drawn) < 10
    last = output.drawn[-1]
    assert "b&b: failed: " in last["text/plain"]
    assert "b&amp;b: failed: " in last["text/html"]
    assert "of 2 scenes" not in last["text/plain"]
    assert capsys.readouterr() == ("", "")


async def test_a_cancelled_call_leaves_an_empty_output(make_scene, tmp_path, notebook):
    cloud = FakeCloud(encode=60)
    with anyio.move_on_after(1.5) as scope:
        await cloudburst.render(make_scene(), to=tmp_path, backend=cloud.backend, progress=True)
    assert scope.cancelled_caught
    assert "0 of 1 scene" in notebook[0].drawn[-2]["text/plain"]
    assert notebook[0].drawn[-1]["text/plain"] == ""
    assert not cloud.running


async def test_each_scene_and_worker_has_a_record(make_scene, tmp_path, caplog):
    caplog.set_level(logging.INFO, "cloudburst.runs")
    cloud = FakeCloud(broken_scenes={"b"})
    async with Client(cloud.backend) as client:
        report = await client.render_all([make_scene("a"), make_scene("b")], to=tmp_path)
    records = [record for record in caplog.records if record.name == "cloudburst.runs"]
    assert {record.run for record in records} == {report.run}
    assert all(record.getMessage().startswith(f"run {report.run}: ") for record in records)
    (done,) = (record for record in records if record.scene == "a")
    assert (done.levelname, done.task) == ("INFO", report.videos[0].task)
    (failed,) = (record for record in records if record.scene == "b")
    assert failed.levelname == "WARNING"
    assert "b has failed (" in failed.getMessage()
    ready, stopped = (
        [record.task for record in records if text in record.getMessage()]
        for text in (" is ready", " has stopped: ")
    )
    assert set(ready) == set(stopped) == {worker.task for worker in report.workers}
