"""Asyncio SDK that renders scenes to videos on AWS ECS Fargate or on this machine.

Each public name is imported from its module when it is first used. Importing all of them would take
0.4 CPU seconds, and health checks, render processes and the command line need only a few.
"""

import logging as _logging
import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from cloudburst.client.backends import burst as burst
    from cloudburst.client.backends import endpoints as endpoints
    from cloudburst.client.backends import fargate as fargate
    from cloudburst.client.backends import local as local
    from cloudburst.client.client import Client as Client
    from cloudburst.client.client import render as render
    from cloudburst.client.client import render_all as render_all
    from cloudburst.client.planning import PlanResult as PlanResult
    from cloudburst.client.planning import plan as plan
    from cloudburst.client.preview import render_frame as render_frame
    from cloudburst.compat import FargateOperationV1 as FargateOperationV1
    from cloudburst.compat import calculate_fargate_cost as calculate_fargate_cost
    from cloudburst.compat import (
        calculate_optimal_batch_distribution as calculate_optimal_batch_distribution,
    )
    from cloudburst.compat import execute_parallel_batches as execute_parallel_batches
    from cloudburst.compat import scan_and_test_folder as scan_and_test_folder
    from cloudburst.compat import scan_scenes_from_folder as scan_scenes_from_folder
    from cloudburst.display.report_page import write_report as write_report
    from cloudburst.engine.run import Run as Run
    from cloudburst.errors import CloudburstError as CloudburstError
    from cloudburst.inputs.scenes import read_scenes as read_scenes
    from cloudburst.models.film import FilmOptions as FilmOptions
    from cloudburst.models.film import Transition as Transition
    from cloudburst.models.limits import Limits as Limits
    from cloudburst.models.limits import Timeouts as Timeouts
    from cloudburst.models.options import RenderOptions as RenderOptions
    from cloudburst.models.report import Cost as Cost
    from cloudburst.models.report import Report as Report
    from cloudburst.models.report import SceneReport as SceneReport
    from cloudburst.models.report import Status as Status
    from cloudburst.models.report import WorkerReport as WorkerReport
    from cloudburst.models.run_progress import RunProgress as RunProgress
    from cloudburst.models.scene import Scene as Scene
    from cloudburst.models.scene import Video as Video
    from cloudburst.models.settings import Settings as Settings
    from cloudburst.models.tier import Tier as Tier
    from cloudburst.models.video_format import Effect as Effect
    from cloudburst.ports.backend import Backend as Backend
    from cloudburst.ports.backend import OpenBackend as OpenBackend

_NAMES = {
    "cloudburst.client.backends": ("burst", "endpoints", "fargate", "local"),
    "cloudburst.client.client": ("Client", "render", "render_all"),
    "cloudburst.compat": (
        "FargateOperationV1",
        "calculate_fargate_cost",
        "calculate_optimal_batch_distribution",
        "execute_parallel_batches",
        "scan_and_test_folder",
        "scan_scenes_from_folder",
    ),
    "cloudburst.display.report_page": ("write_report",),
    "cloudburst.engine.run": ("Run",),
    "cloudburst.errors": ("CloudburstError",),
    "cloudburst.models.video_format": ("Effect",),
    "cloudburst.models.film": ("FilmOptions", "Transition"),
    "cloudburst.models.options": ("RenderOptions",),
    "cloudburst.models.limits": ("Limits", "Timeouts"),
    "cloudburst.models.report": ("Cost", "Report", "SceneReport", "Status", "WorkerReport"),
    "cloudburst.models.run_progress": ("RunProgress",),
    "cloudburst.models.scene": ("Scene", "Video"),
    "cloudburst.models.settings": ("Settings",),
    "cloudburst.models.tier": ("Tier",),
    "cloudburst.ports.backend": ("Backend", "OpenBackend"),
    "cloudburst.client.planning": ("PlanResult", "plan"),
    "cloudburst.client.preview": ("render_frame",),
    "cloudburst.inputs.scenes": ("read_scenes",),
}
"""Public names of the package, grouped by the module that defines them. A test checks that they
match the imports above."""

_MODULES = dict(sorted((name, module) for module, names in _NAMES.items() for name in names))
__all__ = list(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_logging.getLogger(__name__).addHandler(_logging.NullHandler())
