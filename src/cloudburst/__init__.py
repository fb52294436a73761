"""Scenes in, videos out: rendered on machines that exist only while they work, from asyncio."""

import logging as _logging

from cloudburst.backends import (
    burst,
    endpoints,
    fargate,
    local,
)
from cloudburst.client import (
    AnyScene,
    Client,
    render,
)
from cloudburst.compat import (
    FargateOperationV1,
    calculate_fargate_cost,
    calculate_optimal_batch_distribution,
    execute_parallel_batches,
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
    GenerateError,
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
    WorkerError,
    WorkerNotReadyError,
    WorkerStoppedError,
)
from cloudburst.models.events import (
    Event,
    SceneCompleted,
    SceneCopied,
    SceneEncoding,
    SceneEvent,
    SceneFailed,
    SceneGenerated,
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
from cloudburst.models.options import (
    Effect,
    RenderOptions,
)
from cloudburst.models.policy import (
    Backoff,
    Limits,
    Timeouts,
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
from cloudburst.ports import (
    Backend,
    OpenBackend,
)
from cloudburst.scenes import (
    read_scenes,
    scan_scenes_from_folder,
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
    "Event",
    "FargateOperationV1",
    "GenerateError",
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
    "SceneEncoding",
    "SceneError",
    "SceneEvent",
    "SceneFailed",
    "SceneFault",
    "SceneGenerated",
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
    "UploadError",
    "Video",
    "WorkerError",
    "WorkerFailed",
    "WorkerLaunched",
    "WorkerNotReadyError",
    "WorkerReady",
    "WorkerReport",
    "WorkerStopped",
    "WorkerStoppedError",
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
    "scan_scenes_from_folder",
]

_logging.getLogger(__name__).addHandler(_logging.NullHandler())
