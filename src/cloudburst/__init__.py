"""Asyncio SDK that renders scenes to videos on AWS ECS Fargate or on this machine.

Each public name is imported from its module when it is first used. Importing all of them would take
0.4 CPU seconds, and health checks, render processes and the command line need only a few.
"""

import logging as _logging
import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from cloudburst.backends import (
        burst,
        endpoints,
        fargate,
        local,
    )
    from cloudburst.client import (
        Client,
        render,
        render_all,
    )
    from cloudburst.compat import (
        FargateOperationV1,
        calculate_fargate_cost,
        calculate_optimal_batch_distribution,
        execute_parallel_batches,
        scan_and_test_folder,
        scan_scenes_from_folder,
    )
    from cloudburst.engine.run import (
        Run,
    )
    from cloudburst.errors import (
        AccessDeniedError,
        AWSError,
        BudgetError,
        BusyError,
        CapacityError,
        ClosedError,
        CloudburstError,
        ConfigurationError,
        CredentialsError,
        DownloadError,
        EncodeError,
        FilmError,
        ImageError,
        InvalidScenesError,
        JournalError,
        KeyRefusedError,
        LaunchError,
        NoAnswerError,
        OutputClaimedError,
        OutputExistsError,
        OutputWriteError,
        PoisonedSceneError,
        RenderFailedError,
        ResourceMissingError,
        SceneError,
        SceneFault,
        SceneTimeoutError,
        ThrottledError,
        UploadError,
        WorkerDiskFullError,
        WorkerError,
        WorkerNotReadyError,
        WorkerProtocolError,
        WorkerStoppedError,
        WorkerUnfitError,
        WorkerUnreachableError,
    )
    from cloudburst.models.camera_effects import (
        Effect,
    )
    from cloudburst.models.events import (
        Event,
        FilmCompleted,
        FilmFailed,
        FilmProgress,
        SceneCompleted,
        SceneCopied,
        SceneEncoded,
        SceneEncoding,
        SceneEvent,
        SceneFailed,
        SceneProgress,
        SceneQueued,
        SceneRetried,
        SceneStarted,
        SceneUploaded,
        WorkerFailed,
        WorkerLaunched,
        WorkerReady,
        WorkerStopped,
        event_adapter,
    )
    from cloudburst.models.film import (
        Transition,
    )
    from cloudburst.models.limits import (
        Backoff,
        Limits,
        Timeouts,
    )
    from cloudburst.models.options import (
        RenderOptions,
    )
    from cloudburst.models.report import (
        Cost,
        Prediction,
        Report,
        SceneReport,
        Status,
        WorkerReport,
    )
    from cloudburst.models.scene import (
        Scene,
        Video,
    )
    from cloudburst.models.settings import (
        Settings,
    )
    from cloudburst.models.task import (
        Protocol,
    )
    from cloudburst.models.tier import (
        Tier,
    )
    from cloudburst.ports.backend import (
        Backend,
        OpenBackend,
    )
    from cloudburst.preview import (
        render_frame,
    )
    from cloudburst.run_inputs import (
        AnyScene,
    )
    from cloudburst.scenes import (
        read_scenes,
    )

__all__ = [
    "AWSError",
    "AccessDeniedError",
    "AnyScene",
    "Backend",
    "Backoff",
    "BudgetError",
    "BusyError",
    "CapacityError",
    "Client",
    "ClosedError",
    "CloudburstError",
    "ConfigurationError",
    "Cost",
    "CredentialsError",
    "DownloadError",
    "Effect",
    "EncodeError",
    "Event",
    "FargateOperationV1",
    "FilmCompleted",
    "FilmError",
    "FilmFailed",
    "FilmProgress",
    "ImageError",
    "InvalidScenesError",
    "JournalError",
    "KeyRefusedError",
    "LaunchError",
    "Limits",
    "NoAnswerError",
    "OpenBackend",
    "OutputClaimedError",
    "OutputExistsError",
    "OutputWriteError",
    "PoisonedSceneError",
    "Prediction",
    "Protocol",
    "RenderFailedError",
    "RenderOptions",
    "Report",
    "ResourceMissingError",
    "Run",
    "Scene",
    "SceneCompleted",
    "SceneCopied",
    "SceneEncoded",
    "SceneEncoding",
    "SceneError",
    "SceneEvent",
    "SceneFailed",
    "SceneFault",
    "SceneProgress",
    "SceneQueued",
    "SceneReport",
    "SceneRetried",
    "SceneStarted",
    "SceneTimeoutError",
    "SceneUploaded",
    "Settings",
    "Status",
    "ThrottledError",
    "Tier",
    "Timeouts",
    "Transition",
    "UploadError",
    "Video",
    "WorkerDiskFullError",
    "WorkerError",
    "WorkerFailed",
    "WorkerLaunched",
    "WorkerNotReadyError",
    "WorkerProtocolError",
    "WorkerReady",
    "WorkerReport",
    "WorkerStopped",
    "WorkerStoppedError",
    "WorkerUnfitError",
    "WorkerUnreachableError",
    "burst",
    "calculate_fargate_cost",
    "calculate_optimal_batch_distribution",
    "endpoints",
    "event_adapter",
    "execute_parallel_batches",
    "fargate",
    "local",
    "read_scenes",
    "render",
    "render_all",
    "render_frame",
    "scan_and_test_folder",
    "scan_scenes_from_folder",
]

_NAMES = {
    "cloudburst.backends": (
        "burst",
        "endpoints",
        "fargate",
        "local",
    ),
    "cloudburst.client": (
        "Client",
        "render",
        "render_all",
    ),
    "cloudburst.compat": (
        "FargateOperationV1",
        "calculate_fargate_cost",
        "calculate_optimal_batch_distribution",
        "execute_parallel_batches",
        "scan_and_test_folder",
        "scan_scenes_from_folder",
    ),
    "cloudburst.engine.run": ("Run",),
    "cloudburst.errors": (
        "AccessDeniedError",
        "AWSError",
        "BudgetError",
        "BusyError",
        "CapacityError",
        "ClosedError",
        "CloudburstError",
        "ConfigurationError",
        "CredentialsError",
        "DownloadError",
        "EncodeError",
        "FilmError",
        "ImageError",
        "InvalidScenesError",
        "JournalError",
        "KeyRefusedError",
        "LaunchError",
        "NoAnswerError",
        "OutputClaimedError",
        "OutputExistsError",
        "OutputWriteError",
        "PoisonedSceneError",
        "RenderFailedError",
        "ResourceMissingError",
        "SceneError",
        "SceneFault",
        "SceneTimeoutError",
        "ThrottledError",
        "UploadError",
        "WorkerDiskFullError",
        "WorkerError",
        "WorkerNotReadyError",
        "WorkerUnreachableError",
        "WorkerProtocolError",
        "WorkerStoppedError",
        "WorkerUnfitError",
    ),
    "cloudburst.models.camera_effects": ("Effect",),
    "cloudburst.models.events": (
        "Event",
        "FilmCompleted",
        "FilmFailed",
        "FilmProgress",
        "SceneCompleted",
        "SceneCopied",
        "SceneEncoding",
        "SceneEvent",
        "SceneFailed",
        "SceneEncoded",
        "SceneProgress",
        "SceneQueued",
        "SceneRetried",
        "SceneStarted",
        "SceneUploaded",
        "WorkerFailed",
        "WorkerLaunched",
        "WorkerReady",
        "WorkerStopped",
        "event_adapter",
    ),
    "cloudburst.models.film": ("Transition",),
    "cloudburst.models.options": ("RenderOptions",),
    "cloudburst.models.limits": (
        "Backoff",
        "Limits",
        "Timeouts",
    ),
    "cloudburst.models.report": (
        "Cost",
        "Prediction",
        "Report",
        "SceneReport",
        "Status",
        "WorkerReport",
    ),
    "cloudburst.models.scene": (
        "Scene",
        "Video",
    ),
    "cloudburst.models.settings": ("Settings",),
    "cloudburst.models.task": ("Protocol",),
    "cloudburst.models.tier": ("Tier",),
    "cloudburst.ports.backend": (
        "Backend",
        "OpenBackend",
    ),
    "cloudburst.preview": ("render_frame",),
    "cloudburst.run_inputs": ("AnyScene",),
    "cloudburst.scenes": ("read_scenes",),
}
"""Public names of the package, grouped by the module that defines them. A test checks that they
match the imports above."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_logging.getLogger(__name__).addHandler(_logging.NullHandler())
