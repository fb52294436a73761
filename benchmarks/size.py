"""Size of the package, and modules and functions of the client that run for one scene.

    python benchmarks/size.py [--list]

For each package in ``src/cloudburst``: its modules, its lines of code (without blank lines,
comments and docstrings), and the words of its docstrings. Then one scene is rendered on one
emulated Fargate task with the onestep protocol, and one by a process on this machine, while
``sys.setprofile`` traces the thread of the client's event loop: the modules and functions of the
package that run in it, without comprehensions and the bodies of modules and classes, and the frames
of the package on the stack of the first RunTask call. ``--list`` prints their names.
``tests/test_size.py`` holds the figures.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType

import anyio

sys.path.insert(0, str(Path(__file__).parent))
from cloud.account import make_scenes, run_client

import cloudburst
import cloudburst.aws.fargate.backend  # otherwise imported during the trace
import cloudburst.workers.local.backend
from cloudburst import Client, Limits, OpenBackend, fargate, local
from cloudburst.testing import EmulatorConfig

SOURCE = Path(__file__).parents[1] / "src" / "cloudburst"
PACKAGE = str(Path(cloudburst.__file__).parent)
NOT_COUNTED = {"<module>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a package with everything in it."""

    modules: int = 0
    code: int = 0
    """Lines without blank lines, comments and docstrings."""
    words: int = 0
    """Words of docstrings, also of attributes."""

    def __add__(self, other: Size) -> Size:
        return Size(self.modules + other.modules, self.code + other.code, self.words + other.words)


@cache
def sizes(source: Path = SOURCE) -> dict[str, Size]:
    """Return the size of each top package; that of the modules beside them is under ``.``."""
    found = dict[str, Size]()
    for path in sorted(source.rglob("*.py")):
        package, *inside = path.relative_to(source).parts
        name = package if inside else "."
        found[name] = found.get(name, Size()) + size_of(path.read_text("utf-8"))
    return found


def size_of(text: str) -> Size:
    """Return the size of a module."""
    docstrings = list(_docstrings(ast.parse(text)))
    prose = {line for node in docstrings for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    code = [
        line
        for number, line in enumerate(text.splitlines(), 1)
        if number not in prose and line.strip() and not line.lstrip().startswith("#")
    ]
    words = sum(len(str(ast.literal_eval(node.value)).split()) for node in docstrings)
    return Size(1, len(code), words)


def _docstrings(tree: ast.Module) -> Iterator[ast.Expr]:
    """Yield all statements that are only a text: docstrings, and those of attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(ast.Constant(str())):
                yield node


@dataclass(frozen=True, slots=True)
class Trace:
    """What of the package ran for one scene."""

    functions: tuple[str, ...]
    """Functions as ``module.py:name``, sorted."""
    stack: tuple[str, ...]
    """Functions on the stack of the first RunTask call, outermost first."""

    @property
    def figures(self) -> dict[str, int]:
        """Number of modules and functions, and depth of the stack."""
        modules = {name.partition(":")[0] for name in self.functions}
        return {"modules": len(modules), "functions": len(self.functions), "depth": len(self.stack)}


def trace_scene(*, on_fargate: bool) -> Trace:
    """Render one scene in a client process with an emulator of its own, and return its trace."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes = make_scenes(folder / "scenes", [1.0], image_bytes=10_000)
        backend = () if on_fargate else ("--local",)
        command = (sys.executable, Path(__file__), *backend, "--job")
        run = run_client(
            EmulatorConfig.quick(),
            scenes,
            folder / "run",
            workers=1,
            record_events=False,
            command=command,
        )
    return Trace(tuple(run.figures["functions"]), tuple(run.figures["stack"]))


class _Tracer:
    """Recorder of the called functions of the package, and of the stack of the first RunTask."""

    def __init__(self) -> None:
        self.codes = set[CodeType]()
        self.stack = list[str]()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE) and code.co_flags & CO_OPTIMIZED:
            self.codes.add(code)
        elif (
            not self.stack
            and code.co_name == "_make_api_call"
            and frame.f_locals.get("operation_name") == "RunTask"
        ):
            self.stack = _own_frames(frame)


def _own_frames(frame: FrameType | None) -> list[str]:
    found = list[str]()
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE) and frame.f_code.co_name not in NOT_COUNTED:
            found.append(_name(frame.f_code))
        frame = frame.f_back
    return found[::-1]


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_qualname}"


async def _render(job: dict[str, object], backend: OpenBackend) -> None:
    async with Client(backend, limits=Limits(workers=1)) as client:
        report = await client.render_all(job["scenes"], to=job["to"])  # type: ignore[arg-type]
    report.raise_for_failures()


def _trace_client(job_path: Path, backend: OpenBackend) -> None:
    """Render the scenes of a job, and write the functions that ran to its result file."""
    job = json.loads(job_path.read_text("utf-8"))
    tracer = _Tracer()
    sys.setprofile(tracer)
    try:
        anyio.run(_render, job, backend)
    finally:
        sys.setprofile(None)
    functions = sorted({_name(code) for code in tracer.codes if code.co_name not in NOT_COUNTED})
    result = {"functions": functions, "stack": tracer.stack, "began": 0, "returned": 0}
    Path(job["result"]).write_text(json.dumps(result), "utf-8")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the names of the trace")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--local", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        _trace_client(arguments.job, local() if arguments.local else fargate())
        return
    found = sizes()
    print(f"{'package':12} modules    code  docstring words")
    for name, size in [*found.items(), ("sum", sum(found.values(), Size()))]:
        print(f"{name:12} {size.modules:7} {size.code:7} {size.words:16}")
    for place, on_fargate in (("Fargate", True), ("this machine", False)):
        trace = trace_scene(on_fargate=on_fargate)
        figures = ", ".join(f"{name} {number}" for name, number in trace.figures.items())
        print(f"one scene on {place}: {figures}")
        if arguments.list:
            print(*trace.functions, "", "RunTask:", *trace.stack, "", sep="\n")


if __name__ == "__main__":
    main()
