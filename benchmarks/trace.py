"""Number of modules and functions of the client that run for one scene, and depth of its stack.

    python benchmarks/trace.py [--list]

One scene is rendered on one emulated Fargate task with the onestep protocol. The thread of the
client's event loop is traced with ``sys.setprofile``. The benchmark counts the modules and
functions of the package that run in it, without comprehensions and the bodies of modules and
classes. For the first RunTask call, it counts the frames of the package on the stack, and their
files. ``--list`` prints the names.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType

import anyio

sys.path.insert(0, str(Path(__file__).parent))
from cloud.account import make_scenes, run_client

import cloudburst
import cloudburst.aws.fargate.backend  # otherwise imported during the trace
from cloudburst import Client, Limits, fargate
from cloudburst.testing import EmulatorConfig

PACKAGE = str(Path(cloudburst.__file__).parent)
NOT_COUNTED = {"<module>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
GOALS = {"modules": 62, "functions": 430, "depth": 8, "files": 4}
"""Largest numbers that meet the goals."""


class Tracer:
    """Recorder of the called functions of the package, and of the stack of the first RunTask."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()
        self.stack: list[str] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Handle an event, as ``sys.setprofile`` requires."""
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

    def counted(self) -> list[str]:
        """Return the functions as ``module.py:name``, sorted."""
        return sorted(
            f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_qualname}"
            for code in self.codes
            if code.co_name not in NOT_COUNTED
        )


def _own_frames(frame: FrameType | None) -> list[str]:
    found = list[str]()
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE) and code.co_name not in NOT_COUNTED:
            found.append(f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_qualname}")
        frame = frame.f_back
    return found[::-1]


async def _render(job: dict[str, object]) -> None:
    async with Client(fargate(), limits=Limits(workers=1)) as client:
        report = await client.render_all(job["scenes"], to=job["to"])  # type: ignore[arg-type]
    report.raise_for_failures()


def trace_client(job_path: Path) -> None:
    """Render the scenes of a job, and write the functions that ran to its result file."""
    job = json.loads(job_path.read_text("utf-8"))
    tracer = Tracer()
    sys.setprofile(tracer)
    try:
        anyio.run(_render, job)
    finally:
        sys.setprofile(None)
    result = {"functions": tracer.counted(), "stack": tracer.stack, "began": 0, "returned": 0}
    Path(job["result"]).write_text(json.dumps(result), "utf-8")


def main() -> None:
    """Trace one scene and print the figures beside their goals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        trace_client(arguments.job)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes = make_scenes(folder / "scenes", [1.0], image_bytes=10_000)
        config = EmulatorConfig.quick()
        command = (sys.executable, Path(__file__), "--job")
        run = run_client(
            config, scenes, folder / "run", workers=1, record_events=False, command=command
        )
    functions, stack = run.figures["functions"], run.figures["stack"]
    found = {
        "modules": len({name.partition(":")[0] for name in functions}),
        "functions": len(functions),
        "depth": len(stack),
        "files": len({name.partition(":")[0] for name in stack}),
    }
    for name, number in found.items():
        goal = GOALS[name]
        print(f"{name:10} {number:4}  goal at most {goal}  {'met' if number <= goal else 'MISSED'}")
    if arguments.list:
        print(*functions, "", "RunTask:", *stack, sep="\n")


if __name__ == "__main__":
    main()
