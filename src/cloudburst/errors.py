"""Exceptions that this package raises.

* CloudburstError
  * ConfigurationError      (also ValueError)       raised before anything starts
    * InvalidScenesError                            every fault of every scene
    * OutputExistsError     (also FileExistsError)  a video of that name already exists
    * OutputClaimedError                            another process writes a video of that name
    * JournalError                                  the journal of a run cannot be read or written
  * ClosedError             (also RuntimeError)     client used outside its ``async with``
  * BusyError                                       the queue would exceed its limit
  * LaunchError                                     a task could not be started
    * CapacityError         retryable               no capacity now; try later or elsewhere
    * ThrottledError        retryable               too many requests; repeat the request
    * NoAnswerError         retryable               outcome unknown; repeat the request
    * AccessDeniedError                             the credentials do not allow the request
    * CredentialsError                              missing, wrong or expired credentials
    * ResourceMissingError                          a cluster, subnet… of the settings is missing
  * AWSError                                        AWS refused a request that starts no task
  * BudgetError                                     the scene would exceed ``Limits.max_usd``
  * WorkerError                                     a worker failed
    * WorkerNotReadyError   retryable               not healthy in time (also TimeoutError)
      * WorkerUnreachableError retryable            the task runs, its worker does not answer
    * WorkerStoppedError    retryable               the task stopped, or its connection broke
    * KeyRefusedError       retryable               the worker expects a different key
    * WorkerUnfitError                              it reports that it cannot render
    * WorkerDiskFullError   retryable               the worker's disk is full
    * WorkerProtocolError   retryable               an answer that the protocol does not allow
  * SceneError                                      one scene failed; the run continues
    * UploadError                                   the files could not be uploaded
    * EncodeError                                   the scene could not be encoded
      * RenderFailedError   retryable               a fault of the render service
      * PoisonedSceneError                          two workers crashed while they encoded it
    * DownloadError         retryable               the video could not be downloaded
      * OutputWriteError                            the video cannot be written to its folder
    * SceneTimeoutError     retryable               no progress in time (also TimeoutError)
  * FilmError                                       no film could be made of the videos
  * JobError                                        a job cannot be accepted, found or changed
    * UnknownJobError       (also LookupError)      there is no such job
    * JobConflictError                              the job is in another state, or another request
      * SupersededError                             a newer request has taken the place of this one
    * JobLimitError         retryable               a limit of the owner or of the folder is reached
    * JobStorageError                               the folder of the jobs cannot be used
  * ImageError                                      the container image could not be built or pushed
  * WebhookVerificationError                        a request is not a valid webhook message

The attribute ``remedy`` names the action that may help, and ``retryable`` is derived from it. Each
class has a default remedy; a single error may have a more specific remedy from the table in
`cloudburst.models.failures`. Every error survives ``pickle`` and ``copy``: its details are keyword
arguments with defaults and are kept as attributes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias


class Remedy(StrEnum):
    """Action that may help against a failure."""

    REPEAT_REQUEST = "repeat the request"
    """Send the same request to the same server again, after a delay."""
    OTHER_WORKER = "try another worker"
    """Try the work again on another worker."""
    OTHER_SUBNET = "try another subnet"
    """Start the task with another placement, first of all in another subnet."""
    OTHER_SIZE = "try another size"
    """Start a task of another size."""
    FEWER_TASKS = "run fewer tasks"
    """Run fewer tasks at once, because a quota of the account is used up; another subnet does not
    help."""
    FIX_SETUP = "fix the setup"
    """Change settings, credentials or the account; until then every scene of the run fails."""
    FIX_SCENE = "fix the scene"
    """Change the scene or its files, which every worker would reject."""

    @property
    def retryable(self) -> bool:
        """True if another attempt may succeed without a change by the user."""
        return self not in {Remedy.FIX_SETUP, Remedy.FIX_SCENE}


class _Retryable:
    """Descriptor that derives ``retryable`` from the remedy of an error or of its class."""

    def __get__(self, error: CloudburstError | None, kind: type[CloudburstError]) -> bool:
        return (kind if error is None else error).remedy.retryable


class CloudburstError(Exception):
    """Base class of all exceptions of this package."""

    remedy: Remedy = Remedy.FIX_SETUP
    """Action that may help against the failure."""
    retryable = _Retryable()
    """True if another attempt may succeed without a change by the user."""


class ConfigurationError(CloudburstError, ValueError):
    """Error for a setting that is missing or invalid, or that contradicts another one."""


FaultCode: TypeAlias = Literal[
    "missing",
    "no_file",
    "unreadable",
    "wrong_type",
    "too_large",
    "too_long",
    "out_of_range",
    "unknown_field",
    "duplicate_name",
    "bad_name",
    "not_permitted",
    "no_font",
    "contradiction",
    "invalid",
]
"""Kind of a fault, for programs; ``cloudburst.models.problems`` has the fix of each one."""


_MAX_REPEATED = 60
"""Maximum number of characters of a valid value's description that is repeated for each fault."""


class SceneFault(NamedTuple):
    """Problem of one scene that was found before the run began."""

    scene: str
    """Name of the scene, or its place in the list (``scenes[3]``) if it has no valid name; empty
    for a problem of the options."""
    field: str
    """Name of the field as the caller wrote it: ``image_path``, ``image``, ``name``…"""
    found: str
    """Description of the value or file that was found."""
    expected: str
    """Description of a valid value or file."""
    code: FaultCode = "invalid"
    """Kind of the problem, which does not change with its texts."""

    def __str__(self) -> str:
        place = f"{self.scene}: " if self.scene else ""
        return f"{place}{self.field}: {self.found}; expected {self.expected}"


def without_repeats(faults: Iterable[SceneFault]) -> Iterator[SceneFault]:
    """Yield faults for people, each long description of a field's valid values only once."""
    first = dict[tuple[str, str], str]()
    for fault in faults:
        scene = first.setdefault((fault.field, fault.expected), fault.scene)
        is_said = scene != fault.scene and len(fault.expected) > _MAX_REPEATED
        yield fault._replace(expected=f"as for {scene} above") if is_said else fault


class InvalidScenesError(ConfigurationError):
    """Error that lists every problem of every scene. Nothing was started."""

    def __init__(self, message: str = "", *, faults: Sequence[SceneFault] = ()) -> None:
        super().__init__(message or "\n".join(map(str, without_repeats(faults))))
        self.faults = tuple(faults)


class OutputExistsError(ConfigurationError, FileExistsError):
    """Error for videos that exist already; ``overwrite=True`` would replace them."""

    def __init__(
        self,
        message: str,
        *,
        paths: Sequence[Path] = (),
        objects: Sequence[str] = (),
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.paths = tuple(paths)
        self.objects = tuple(objects)
        """Videos in S3, such as ``s3://bucket/folder/name.mp4``."""
        self.reason = reason
        """Reason why a resumed run does not accept the videos as its own; empty for a new run."""


class OutputClaimedError(ConfigurationError):
    """Error for videos, or for a run, on which another process of this machine is working."""

    def __init__(self, message: str, *, paths: Sequence[Path] = (), holder: str = "") -> None:
        super().__init__(message)
        self.paths = tuple(paths)
        self.holder = holder


class JournalError(ConfigurationError):
    """Error for a journal that cannot be read or written."""

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class ClosedError(CloudburstError, RuntimeError):
    """Error for a client used outside its ``async with`` block or from another event loop."""


class BusyError(CloudburstError):
    """Error for a call whose scenes would exceed ``Limits.queued_scenes``. Nothing was started.

    A later call may succeed, unless the scenes of this one alone are too many.
    """

    remedy = Remedy.REPEAT_REQUEST


class LaunchError(CloudburstError):
    """Error for a task that could not be started."""


class CapacityError(LaunchError):
    """Error for a lack of capacity; a later request, or another subnet or size, may succeed."""

    remedy = Remedy.OTHER_SUBNET


class ThrottledError(LaunchError):
    """Error for too many requests; the same request may be repeated after a delay."""

    remedy = Remedy.REPEAT_REQUEST


class NoAnswerError(LaunchError):
    """Error for a launch request without an answer; it may be repeated with the same token."""

    remedy = Remedy.REPEAT_REQUEST


class AccessDeniedError(LaunchError):
    """Error for a request that the permissions of the credentials do not allow."""


class CredentialsError(LaunchError):
    """Error for missing, invalid or expired credentials."""


class ResourceMissingError(LaunchError):
    """Error for a resource that the settings name and that does not exist.

    ``cloudburst doctor`` names the resource and the fix.
    """


class AWSError(CloudburstError):
    """Error for a failed call to AWS, except for the launch of a task: see `LaunchError`."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class BudgetError(CloudburstError):
    """Error for a scene that was not started because it would exceed ``Limits.max_usd``."""


class WorkerError(CloudburstError):
    """Error for a worker that failed."""

    def __init__(self, message: str, *, task: str = "") -> None:
        super().__init__(message)
        self.task = task


class WorkerNotReadyError(WorkerError, TimeoutError):
    """Error for a worker that did not pass its health check within ``Timeouts.ready`` seconds."""

    remedy = Remedy.OTHER_WORKER


class WorkerUnreachableError(WorkerNotReadyError):
    """Error for a running task whose worker gave no answer within ``Timeouts.reach`` seconds.

    If the reason is known, such as a security group that does not let this machine in, ``remedy``
    is `Remedy.FIX_SETUP`.
    """


class WorkerStoppedError(WorkerError):
    """Error for a task that stopped, or whose connection broke, while it was needed."""

    remedy = Remedy.OTHER_WORKER

    def __init__(
        self,
        message: str,
        *,
        task: str = "",
        stop_code: str = "",
        crashed: bool = False,
        error_exit: bool = False,
        draining: bool = False,
    ) -> None:
        super().__init__(message, task=task)
        self.stop_code = stop_code
        self.crashed = crashed
        """True if the task crashed or was killed; false if it exited normally or was stopped."""
        self.error_exit = error_exit
        """True if the program in the task exited by itself with an error code."""
        self.draining = draining
        """True if the worker begins no further encode, and finishes those that are running."""


class KeyRefusedError(WorkerError):
    """Error for a worker that rejects the key that was sent to it; another worker may succeed."""

    remedy = Remedy.OTHER_WORKER


class WorkerUnfitError(WorkerError):
    """Error for a worker that reports that it cannot render.

    If it has named a missing library or font, every worker from the same image or installation has
    the same defect, and ``remedy`` is `Remedy.FIX_SETUP`. If its test render was killed or took too
    long, ``remedy`` is `Remedy.OTHER_WORKER`.
    """


class WorkerDiskFullError(WorkerError):
    """Error for a worker whose disk has no room for the files or the video of a scene."""

    remedy = Remedy.OTHER_WORKER


class WorkerProtocolError(WorkerError):
    """Error for an answer that the protocol does not allow: the server is not a render service."""

    remedy = Remedy.OTHER_WORKER


class SceneError(CloudburstError):
    """Error for a scene that failed; the other scenes of the run are still rendered."""

    remedy = Remedy.FIX_SCENE
    stage: ClassVar[str] = "scene"

    def __init__(self, message: str, *, scene: str = "", field: str = "") -> None:
        super().__init__(message)
        self.scene = scene
        self.field = field


class UploadError(SceneError):
    """Error for a scene whose files could not be uploaded."""

    stage = "upload"


class EncodeError(SceneError):
    """Error for a scene that could not be encoded."""

    stage = "encode"


class RenderFailedError(EncodeError):
    """Error for a fault of the render service; another worker may succeed."""

    remedy = Remedy.OTHER_WORKER


class PoisonedSceneError(EncodeError):
    """Error for a scene that is not tried again because two workers crashed while encoding it."""

    def __init__(
        self, message: str, *, scene: str = "", field: str = "", tasks: Sequence[str] = ()
    ) -> None:
        super().__init__(message, scene=scene, field=field)
        self.tasks = tuple(tasks)


class DownloadError(SceneError):
    """Error for a video that could not be downloaded completely."""

    stage = "download"
    remedy = Remedy.OTHER_WORKER


class OutputWriteError(DownloadError):
    """Error for a video that cannot be written to its folder on this machine or in S3.

    The disk is full, the folder or bucket is missing, or there is no permission to write to it.
    """

    remedy = Remedy.FIX_SETUP


class SceneTimeoutError(SceneError, TimeoutError):
    """Error for a scene that made no progress for ``Timeouts.scene`` seconds."""

    remedy = Remedy.OTHER_WORKER


class FilmError(CloudburstError):
    """Error for a film that could not be made. Videos that are finished are kept."""


class JobError(CloudburstError):
    """Error for a job that cannot be accepted, found or changed."""


class UnknownJobError(JobError, LookupError):
    """Error for a job that does not exist, or was removed."""


class JobConflictError(JobError):
    """Error for a request that contradicts the state of a job, or an earlier request."""


class SupersededError(JobConflictError):
    """Error for a request whose place a newer one of the same owner has taken."""


class JobLimitError(JobError):
    """Error for a job or upload that would exceed a limit: see ``JobLimits``."""

    remedy = Remedy.REPEAT_REQUEST

    def __init__(self, message: str, *, of_owner: bool = True) -> None:
        super().__init__(message)
        self.of_owner = of_owner
        """True for a limit of the owner; false for the limit of the whole folder."""


class JobStorageError(JobError):
    """Error for the folder or the database of the jobs, which cannot be read or written."""


class ImageError(CloudburstError):
    """Error for a container image that could not be built, read or pushed."""


class WebhookVerificationError(CloudburstError):
    """Error for a request that is not a valid webhook message: its receiver must reject it."""


class PublicCall(AbstractContextManager[None]):
    """Public function: the tracebacks of this package's errors end in it, and show no causes.

    ``__context__`` still has the cause. Python's development mode (``python -X dev``) shows all.
    """

    def __exit__(self, _: object, error: BaseException | None, traceback: Any, /) -> None:  # noqa: PYI036
        if error and not sys.flags.dev_mode and _without_frames(error):
            traceback.tb_next = None
            error.__traceback__ = traceback


def _without_frames(error: BaseException) -> bool:
    """Remove frames and causes of an error, and return true, if all in it is of this package."""
    match error:
        case BaseExceptionGroup(exceptions=parts):
            own = all([_without_frames(part) for part in parts])  # noqa: C419 - of each one
        case _:
            own = isinstance(error, CloudburstError)
    if own:
        error.__traceback__ = error.__cause__ = None
    return own
