"""A worker is healthy only where a render succeeded, and says what is missing where it did not."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from cloudburst.service import self_test
from cloudburst.service.app import build_app
from cloudburst.service.config import ServiceSettings
from cloudburst.service.self_test import TEST_RENDER_COMMAND, SelfTest
from cloudburst.service.service import open_service
from cloudburst.service.subprocesses import Subprocesses
from support.service_caller import FOUND, KEY, STAND_IN, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@asynccontextmanager
async def opened(
    folder: Path, probe: Sequence[str], **options: Any
) -> AsyncGenerator[httpx.AsyncClient]:
    settings = ServiceSettings(key=KEY, folder=folder, **options)
    async with open_service(settings, render=STAND_IN, probe=probe) as service:
        transport = httpx.ASGITransport(build_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            yield http


def printing(text: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", text)


async def ended(http: httpx.AsyncClient) -> httpx.Response:
    """The answer when the test render is over, on a machine with much else to do."""
    while (answer := await http.get("/health")).status_code == 503:
        pass
    return answer


async def test_health_without_a_test_render_is_healthy_at_once(tmp_path: Path) -> None:
    probe = printing("raise SystemExit('a test render')")
    async with opened(tmp_path, probe, test_render=False) as http:
        answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy"}


@pytest.mark.real
async def test_this_machine_renders_and_so_it_is_healthy(tmp_path: Path) -> None:
    async with opened(tmp_path, TEST_RENDER_COMMAND) as http:
        answer = await ended(http)
        assert answer.status_code == 200, answer.text
        assert answer.json()["ffmpeg_version"].startswith("ffmpeg version")
        assert not list(tmp_path.glob("*/probe"))  # noqa: ASYNC240 - two names


@pytest.mark.real
@pytest.mark.parametrize("module", ["av", "PIL"])
async def test_a_library_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    reason = "libstdc++.so.6: cannot open shared object file: No such file or directory"
    (tmp_path / f"{module}.py").write_text(f"raise ImportError({reason!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with opened(tmp_path, TEST_RENDER_COMMAND) as http:
        answer = await ended(http)
        assert answer.status_code == 500
        assert answer.json() == {
            "status": "unhealthy",
            "error": f"ImportError: {reason}",
            "final": True,
        }


def changed_renderer(folder: Path, code: str) -> tuple[str, ...]:
    """Return a command for the test render of a machine that the code changes first."""
    script = folder / "changed.py"
    script.write_text(
        f"{code}\nimport runpy\nrunpy.run_module('cloudburst.renderer.test_render', "
        "run_name='__main__')\n"
    )
    return (sys.executable, str(script))


NO_FONT = """
from cloudburst.renderer import fonts, scene
scene.load_font = lambda *_: fonts.find_font(package="no_package_of_this_name")
"""
NO_KERNEL = """
from pathlib import Path
from cloudburst.renderer.kernel import library
library.open_kernel.__defaults__ = (Path("/nowhere"),)
"""


@pytest.mark.real
async def test_a_font_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path, changed_renderer(tmp_path, NO_FONT)) as http:
        answer = await ended(http)
        assert answer.status_code == 500
        assert answer.json()["error"] == (
            "no font Noto Sans CJK SC for subtitles: install cloudburst-sdk[local]"
        )


@pytest.mark.real
async def test_without_a_compiled_kernel_the_answer_says_what_to_install(tmp_path: Path) -> None:
    async with opened(tmp_path, changed_renderer(tmp_path, NO_KERNEL)) as http:
        answer = await ended(http)
        assert answer.status_code == 500
        assert "install a C compiler or the package ziglang" in answer.json()["error"]


@pytest.mark.parametrize(
    ("probe", "said", "final"),
    [
        (printing("import sys; sys.exit('no memory')"), "exit 1: no memory", False),
        (printing("import os; os.kill(os.getpid(), 9)"), "exit -9", False),
        (printing("print('nonsense')"), "exit 0", False),
        (printing("print('{\"found\": 1}')"), "exit 0", False),
        (
            printing(f"print({json.dumps({'found': FOUND})!r}); import os; os._exit(3)"),
            "exit 3",
            False,
        ),
        (printing("print('{\"missing\": \"' + 'x' * 5000 + '\"}')"), "xxx", True),
        (("/nowhere/python",), "the test render cannot be started", False),
    ],
)
async def test_a_test_render_that_goes_wrong_makes_it_unhealthy(
    tmp_path: Path, probe: Sequence[str], said: str, final: bool
) -> None:
    async with opened(tmp_path, probe) as http:
        answer = await ended(http)
        assert answer.status_code == 500
        assert said in answer.json()["error"]
        assert answer.json()["final"] is final
        assert len(answer.content) < 500


async def test_a_test_render_that_takes_too_long_says_nothing_about_other_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "TEST_RENDER_TIMEOUT", 0.1)
    async with opened(tmp_path, printing("import time; time.sleep(60)")) as http:
        answer = await ended(http)
    assert answer.json() == {
        "status": "unhealthy",
        "error": "the test render did not finish within 0.1 s",
        "final": False,
    }


async def test_a_folder_that_cannot_be_made_makes_it_unhealthy(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        equipment = SelfTest(tasks, Subprocesses(), tmp_path / "gone" / "probe")
        equipment.start()
        await equipment.checked.wait()
    assert equipment.missing
    assert equipment.missing.startswith("the test render cannot be started: [Errno 2]")


async def test_while_the_test_render_runs_it_is_starting(tmp_path: Path) -> None:
    async with opened(tmp_path, printing("import time; time.sleep(60)")) as http:
        began = time.monotonic()
        answer = await http.get("/health")
        assert answer.status_code == 503
        assert answer.json()["status"] == "starting"
        assert time.monotonic() - began > 1


async def test_the_machine_is_tested_once_and_health_checks_cost_nothing(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    text = f"open({str(runs)!r}, 'a').write('x'); print({json.dumps({'found': FOUND})!r})"
    async with opened(tmp_path, printing(text)) as http:
        await ended(http)
        began = time.process_time()
        for _ in range(20):
            assert (await http.get("/health")).status_code == 200
        assert (time.process_time() - began) / 20 < 0.01  # CPU seconds, with the client's own
    assert runs.read_text() == "x"


@pytest.mark.real
async def test_a_test_render_ends_with_its_server_also_while_it_imports(tmp_path: Path) -> None:
    marker = tmp_path / "imports"
    slow = f"import pathlib, time; pathlib.Path({str(marker)!r}).touch(); time.sleep(600)"
    (tmp_path / "PIL.py").write_text(slow)
    process = await anyio.open_process(
        [*TEST_RENDER_COMMAND, str(tmp_path)],
        env={"PYTHONPATH": str(tmp_path)},
        start_new_session=True,
    )
    async with process:
        await eventually(marker.exists, 20)
        assert process.stdin is not None
        await process.stdin.aclose()
        with anyio.fail_after(20):
            assert await process.wait() == -signal.SIGKILL
