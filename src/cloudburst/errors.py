"""Everything this package raises on purpose.

* CloudburstError
  * ConfigurationError      (also ValueError)       found before anything starts
    * InvalidScenesError                            all faults of all scenes at once
    * OutputExistsError     (also FileExistsError)  a video of that name is there already
    * OutputClaimedError                            another run is writing that name
    * JournalError                                  what a run wrote down cannot be read
  * ClosedError             (also RuntimeError)     client used outside its ``async with``
  * BusyError                                       more scenes wait than ``Limits.waiting`` allows
  * LaunchError                                     a task could not be started
    * CapacityError         retryable               no room now; ask again, or elsewhere
    * ThrottledError        retryable               asked too often; the same request again
    * NoAnswerError         retryable               outcome unknown; the same request again
    * AccessDeniedError                             the credentials may not do this
    * CredentialsError                              there are none, or they are wrong or expired
    * ResourceMissingError                          a cluster, task definition, subnet… is not there
  * AWSError                                        AWS refused something else
  * BudgetError                                     it would cost more than ``Limits.max_usd``
  * WorkerError                                     a task we own misbehaved
    * WorkerNotReadyError   retryable (also TimeoutError)
    * WorkerStoppedError    retryable
    * KeyRefusedError       retryable               it wants another key than ours
  * SceneError                                      one scene failed; the run goes on
    * UploadError
    * GenerateError
      * RenderFailedError   retryable               the service's fault, not the scene's
      * PoisonedSceneError                          it ended two workers, and will end no more
    * DownloadError         retryable
      * OutputWriteError                            this machine cannot write the video
    * SceneTimeoutError     retryable (also TimeoutError)

``remedy`` says what may help, and ``retryable`` follows from it: whether the same work may succeed
on another worker. Both are known of a class; of one error ``remedy`` may be told more exactly, for
which `cloudburst.models.failures` has a table. Every error survives ``pickle`` and ``copy``: facts
are keyword arguments with defaults, kept as attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, NamedTuple


class Remedy(StrEnum):
    """What helps against a failure."""

    AGAIN_HERE = "again here"
    """The same request to the same side, after a while."""
    ELSEWHERE = "again on another task"
    OTHER_SUBNET = "another subnet"
    """There is no room where it was asked for; the first step of a ladder."""
    ON_DEMAND = "on demand instead of Spot"
    OTHER_SIZE = "another size"
    FEWER = "fewer at once"
    """The account may not have more at the same time, wherever that be."""
    WHOLE_RUN = "the whole run"
    """Nothing helps until somebody has changed something."""
    SCENE = "the scene itself"
    """Every worker would say the same of it."""

    @property
    def retries(self) -> bool:
        """Whether it is worth a try that nobody has to prepare."""
        return self not in {Remedy.WHOLE_RUN, Remedy.SCENE}


class _Retryable:
    """Read from the remedy of an error, or of its class, so that there are no two truths."""

    def __get__(self, error: CloudburstError | None, kind: type[CloudburstError]) -> bool:
        return (kind if error is None else error).remedy.retries


class CloudburstError(Exception):
    """Base class: ``except CloudburstError`` catches all that follows."""

    remedy: Remedy = Remedy.WHOLE_RUN
    """What helps against it."""
    retryable = _Retryable()
    """Whether the same work may succeed on another worker."""


class ConfigurationError(CloudburstError, ValueError):
    """A setting is missing, wrong or contradicts another one."""


class SceneFault(NamedTuple):
    """One thing that is wrong with one scene."""

    scene: str
    """Name of the scene, or its place in the list (``scenes[3]``) when it has no usable name; empty
    where there is no scene."""
    field: str
    """The field as the caller wrote it: ``image_path``, ``image``, ``name``…"""
    found: str
    """What is there."""
    expected: str
    """What would be right."""

    def __str__(self) -> str:
        place = f"{self.scene}: " if self.scene else ""
        return f"{place}{self.field}: {self.found}; expected {self.expected}"


class InvalidScenesError(ConfigurationError):
    """Scenes cannot be rendered as they are. Nothing was started."""

    def __init__(self, message: str = "", *, faults: Sequence[SceneFault] = ()) -> None:
        super().__init__(message or "\n".join(map(str, faults)))
        self.faults = tuple(faults)


class OutputExistsError(ConfigurationError, FileExistsError):
    """Videos of these names exist. Nothing was started; ``overwrite=True`` replaces them."""

    def __init__(self, message: str, *, paths: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class OutputClaimedError(ConfigurationError):
    """Another run that is still alive writes to these names."""

    def __init__(self, message: str, *, paths: Sequence[Path] = (), holder: str = "") -> None:
        super().__init__(message)
        self.paths = tuple(paths)
        self.holder = holder


class JournalError(ConfigurationError):
    """What a run wrote down cannot be read, or not kept."""

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class ClosedError(CloudburstError, RuntimeError):
    """The client is used before it was entered, after it was left, or from another loop."""


class BusyError(CloudburstError):
    """The queue is full: nothing of this call was started."""

    remedy = Remedy.AGAIN_HERE


class LaunchError(CloudburstError):
    """A task could not be started."""


class CapacityError(LaunchError):
    """There is no room now; a later request, or one of another size or place, may succeed."""

    remedy = Remedy.OTHER_SUBNET


class ThrottledError(LaunchError):
    """The backend asks for patience; the same request may be repeated."""

    remedy = Remedy.AGAIN_HERE


class NoAnswerError(LaunchError):
    """The request may or may not have arrived; the same request, same token, may be repeated."""

    remedy = Remedy.AGAIN_HERE


class AccessDeniedError(LaunchError):
    """The credentials may not do this; no retry will help."""


class CredentialsError(LaunchError):
    """There are no credentials, or AWS takes them for wrong or expired."""


class ResourceMissingError(LaunchError):
    """What the settings name is not there: ``cloudburst doctor`` says what, and what mends it."""


class AWSError(CloudburstError):
    """AWS refused a call that starts no task."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class BudgetError(CloudburstError):
    """The scene was not begun: it would have cost more than ``Limits.max_usd`` allows."""


class WorkerError(CloudburstError):
    """A task that we launched misbehaved."""

    def __init__(self, message: str, *, task: str = "") -> None:
        super().__init__(message)
        self.task = task


class WorkerNotReadyError(WorkerError, TimeoutError):
    """The worker did not answer its health check in time."""

    remedy = Remedy.ELSEWHERE


class WorkerStoppedError(WorkerError):
    """The task stopped, or the line to it broke, while we still needed it."""

    remedy = Remedy.ELSEWHERE

    def __init__(
        self, message: str, *, task: str = "", stop_code: str = "", died: bool = False
    ) -> None:
        super().__init__(message, task=task)
        self.stop_code = stop_code
        self.died = died
        """It ended by itself: nobody stopped it."""


class KeyRefusedError(WorkerError):
    """The worker wants another key than the one that it was started with. Others may not."""

    remedy = Remedy.ELSEWHERE


class SceneError(CloudburstError):
    """One scene failed."""

    remedy = Remedy.SCENE
    stage: ClassVar[str] = "scene"

    def __init__(self, message: str, *, scene: str = "", field: str = "") -> None:
        super().__init__(message)
        self.scene = scene
        self.field = field


class UploadError(SceneError):
    """The worker did not take the scene's files."""

    stage = "upload"


class GenerateError(SceneError):
    """The worker could not make a video of the scene's files."""

    stage = "generate"


class RenderFailedError(GenerateError):
    """The service failed by a fault of its own; another worker may do better."""

    remedy = Remedy.ELSEWHERE


class PoisonedSceneError(GenerateError):
    """Two workers ended by themselves while they encoded the scene: it is set aside."""

    def __init__(
        self, message: str, *, scene: str = "", field: str = "", tasks: Sequence[str] = ()
    ) -> None:
        super().__init__(message, scene=scene, field=field)
        self.tasks = tuple(tasks)


class DownloadError(SceneError):
    """The video did not arrive whole."""

    stage = "download"
    remedy = Remedy.ELSEWHERE


class OutputWriteError(DownloadError):
    """This machine cannot write the video: no room, no permission, no folder."""

    remedy = Remedy.WHOLE_RUN


class SceneTimeoutError(SceneError, TimeoutError):
    """The scene was not done within ``Timeouts.scene``."""

    remedy = Remedy.ELSEWHERE
