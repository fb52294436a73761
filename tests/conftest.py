"""Both event loops, each with a clock that jumps; and scenes of real files."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import struct
import wave
from collections import defaultdict
from functools import cache
from itertools import count, cycle, groupby, islice
from pathlib import Path

import certifi
import pytest
import trio.testing
from botocore import hooks
from botocore.client import ClientCreator
from botocore.loaders import JSONFileLoader, Loader
from cyclopts.argument import _collection
from hypothesis import settings
from PIL import Image

from cloudburst.aws.fargate import run_registry
from cloudburst.testing import VirtualClockLoop
from support import needed_programs
from support.registry_server import running_registry

# Each of more than a thousand processes would read the metadata of all packages in search of them.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "true"
# Commands speak the language of the locale.
os.environ["LC_ALL"] = "C.UTF-8"

# Some test runs start with ignored signals: those of nohup and in the background of a script.
for _signum, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, _default)

# Tests leave tasks of emulators behind, which end with them.
atexit.unregister(run_registry._print_unstopped_tasks)

gc.disable()  # until all tests are collected: modules and tests stay until the end


SEPARATE = ("emulator", "nightly", "registry", "whole_image")
"""Markers of tests that are left out. Sessions of nox with these names run them."""


EMULATOR = Path(__file__).parent / "emulator"


def pytest_configure(config):
    """Leave out the tests of other sessions that the command line does not name."""
    wanted, args = config.option.markexpr, " ".join(config.args)
    if "::" not in args and "nightly" not in wanted:
        for name in SEPARATE:
            if name not in wanted and not (name == "emulator" and "tests/emulator" in args):
                wanted = f"({wanted}) and not {name}" if wanted else f"not {name}"
        config.option.markexpr = wanted
    spread_collection(config)


def pytest_report_header(config):
    """Name the sessions whose tests are left out."""
    names = [name for name in SEPARATE if f"not {name}" in config.option.markexpr]
    return f"left out: tests of {' and '.join(f'nox -s {name}' for name in names)}" if names else []


def pytest_terminal_summary(terminalreporter, config):
    """Name the programs for want of which tests were left out; after a whole run, also none."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", ())]
    found = needed_programs.count_by_program(place[2] for place in skipped)
    tests = [f"{count} for want of {name}" for name, count in found.most_common()]
    if tests or config.args_source is config.ArgsSource.TESTPATHS:
        text = ", ".join(tests) or "none for want of a program"
        terminalreporter.write_line(f"tests left out: {text}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Leave out a test that needs a program which is not installed, before its fixtures."""
    needed_programs.require(*(name for mark in item.iter_markers("needs") for name in mark.args))


def spread_collection(config):
    """Let each test process begin the collection with another part of the test files.

    Processes that collected in the same order would all compile each module at the same time,
    because none would find it compiled by another one: 10 s of CPU time for each process.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args_source is not config.ArgsSource.TESTPATHS:
        return
    files = sorted(str(path) for folder in config.args for path in Path(folder).rglob("test_*.py"))
    first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    config.args = files[first:] + files[:first]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Put long tests and those of processes first, so that no test process has a long one last.

    pytest-xdist gives each test process an equal part of the list, and later moves tests from the
    end of a part to processes that have no more. Only every second part begins with tests of
    processes, because these tests load the machine more than others.
    """
    items.sort(key=lambda item: item.path)  # each test process collects them in another order
    mark(items)
    result = yield
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in items if item.get_closest_marker("long")]
    long.sort(key=lambda item: -item.get_closest_marker("long").args[0])
    real = [item for item in items if item.get_closest_marker("real") and item not in long]
    first = {*long, *real}
    rest = iter([item for item in items if item not in first])
    parts = [[] for _ in range(processes)]
    loaded = cycle(parts[::2])
    for item in long:
        next(loaded).append(item)
    for _, tests_of_file in groupby(real, key=lambda item: item.path):
        next(loaded).extend(tests_of_file)
    left = len(items)
    items.clear()
    for number, part in enumerate(parts):
        size = left // (processes - number)
        left -= size
        items += [*part, *islice(rest, max(0, size - len(part)))]
    items += rest
    return result


def mark(items):
    """Mark tests by their fixtures and folders, and the cases that are left to the nights."""
    cases = defaultdict(list)
    for item in items:
        for fixture in needed_programs.PROGRAMS_OF_FIXTURES.keys() & {*item.fixturenames}:
            item.add_marker(pytest.mark.needs(*needed_programs.PROGRAMS_OF_FIXTURES[fixture]))
        if "registry_server" in item.fixturenames and not item.get_closest_marker("whole_image"):
            item.add_marker("registry")
        if item.path.parent == EMULATOR:
            item.add_marker("emulator")
        if item.get_closest_marker("few") and not item.get_closest_marker("nightly"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for found in cases.values():
        few = found[0].get_closest_marker("few")
        count = few.args[0]
        step = max(1.0, len(found) / count) if few.kwargs.get("spread") else 1.0
        kept = {int(step * number) for number in range(count)}
        for number, item in enumerate(found):
            if number not in kept:
                item.add_marker("nightly")


def pytest_collection_finish():
    """Leave what is there by now out of garbage collections, which tests would pay for."""
    gc.freeze()
    gc.set_threshold(10_000, 50)  # of 700 and 10: clients of boto are made of many objects
    gc.enable()


_read_model = cache(JSONFileLoader().load_file)


class SharedModels(JSONFileLoader):
    """Models of AWS's services that boto reads once for each test process, not for each session."""

    def load_file(self, file_path):
        return _read_model(file_path)


Loader.FILE_LOADER_CLASS = SharedModels

_create_methods = ClientCreator._create_methods
_methods = {}


def shared_methods(creator, service_model):
    """Create the hundreds of methods of a service's clients once for each test process."""
    key = type(creator), service_model.service_name, service_model.api_version
    if key not in _methods:
        _methods[key] = _create_methods(creator, service_model)
    return dict(_methods[key])


ClientCreator._create_methods = shared_methods

_list_services = Loader.list_available_services
_services = {}


def shared_services(loader, type_name):
    """List the hundreds of folders of boto's services once for each test process."""
    key = tuple(loader.search_paths), type_name
    if key not in _services:
        _services[key] = _list_services(loader, type_name)
    return list(_services[key])


Loader.list_available_services = shared_services

_alias_event = hooks.EventAliaser._alias_event_name
_events = {}


def shared_alias(aliaser, event_name):
    """Look up an event in boto's table of new names once for each test process."""
    if event_name not in _events:
        _events[event_name] = _alias_event(aliaser, event_name)
    return _events[event_name]


hooks.EventAliaser._alias_event_name = shared_alias

_accepts_kwargs = hooks.accepts_kwargs
_accepting = {}


def shared_check(handler):
    """Inspect the parameters of a handler of events once for each test process."""
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    if code is None:
        return _accepts_kwargs(handler)
    if code not in _accepting:
        _accepting[code] = _accepts_kwargs(handler)
    return _accepting[code]


hooks.accepts_kwargs = shared_check


_resolve_groups = _collection._resolve_groups_from_callable
_groups = {}


def shared_groups(function, *parameters, **groups):
    """Find the groups of a command's options once for each test process: 10 ms for each call."""
    key = function, *map(id, groups.values())
    if key not in _groups:
        _groups[key] = _resolve_groups(function, *parameters, **groups)
    return list(_groups[key])


_collection._resolve_groups_from_callable = shared_groups


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Collect the garbage of a test that ignores what its deletion reports.

    Otherwise a later test would delete it, and would fail because of it. What outlives the test is
    left out of later collections: late in a test process, each would take a second.
    """
    ignored = [str(arg) for mark in item.iter_markers("filterwarnings") for arg in mark.args]
    collects = any("Unraisable" in text or "never awaited" in text for text in ignored)
    if collects:
        gc.collect()
    result = yield
    if collects:
        gc.freeze()
    return result


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory):
    """Let boto read one certificate authority for each client, of more than a hundred.

    The emulator uses HTTP, but boto reads them all for each of the thousands of clients: 5 ms.
    """
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    end = "-----END CERTIFICATE-----\n"
    path.write_text(certifi.contents().partition(end)[0] + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CA_BUNDLE", str(path))
        yield


# How long an example takes says more about the machine than about us.
settings.register_profile("cloudburst", deadline=None, max_examples=50)
settings.load_profile("cloudburst")


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"loop_factory": VirtualClockLoop}), id="asyncio"),
        pytest.param("trio", id="trio", marks=pytest.mark.nightly),
    ]
)
def anyio_backend(request):
    """Virtual time. A test with threads, sockets or processes overrides this with "asyncio"."""
    if request.param == "trio":
        return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
    return request.param


@pytest.fixture(scope="session")
def state_folders(tmp_path_factory):
    """Names of folders that do not exist yet; `tmp_path` for thousands of tests takes seconds."""
    parent = tmp_path_factory.mktemp("states")
    return (str(parent / str(number)) for number in count())


@pytest.fixture(autouse=True)
def own_state(state_folders, monkeypatch):
    """What outlives a run is kept in a folder of this test, and nobody's home is touched."""
    monkeypatch.setenv("XDG_STATE_HOME", next(state_folders))


@pytest.fixture(autouse=True)
def own_fonts(monkeypatch):
    """Fonts of the machine do not change what a test draws."""
    for name in ("XDG_DATA_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, "/nowhere")


@pytest.fixture(autouse=True)
def own_log_handlers():
    """Remove the log handlers that a test adds: each call of the command line adds one.

    With hundreds of them, a log record with a traceback takes a tenth of a second.
    """
    logger = logging.getLogger("cloudburst")
    before = logger.handlers[:]
    yield
    logger.handlers[:] = before


class Defects(logging.Handler):
    """The exceptions that the engine did not expect and has survived."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        if getattr(record, "defect", False):
            self.records.append(record)


@pytest.fixture(autouse=True)
def defects():
    """A test fails with the defects that it has not taken: ``defects.records.clear()``."""
    handler = Defects()
    logger = logging.getLogger("cloudburst.engine.defects")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    assert not [record.getMessage() for record in handler.records]


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory):
    """Run a container registry with a password; each test uses repositories of its own.

    Tests with this fixture get the marker ``registry``.
    """
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def make_scene(tmp_path):
    """A scene of small real files: ``make_scene("name", seconds=1)``."""

    def make(name="scene", *, seconds=1.0, size=(320, 180), color="teal", folder=tmp_path):
        image, audio = folder / f"{name}.png", folder / f"{name}.wav"
        Image.new("RGB", size, color).save(image)
        write_tone(audio, seconds)
        return {"scene_name": name, "image_path": str(image), "audio_path": str(audio)}

    return make


PERIOD = struct.pack("<40h", *[-9000] * 20, *[9000] * 20)
"""Samples of a tone."""


def write_tone(path: Path, seconds: float, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        count = int(seconds * rate)
        file.writeframes((PERIOD * (count // 40 + 1))[: 2 * count])
