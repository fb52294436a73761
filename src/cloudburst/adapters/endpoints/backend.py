"""Backend of render services that already run at given addresses; each service is a worker."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count

import anyio

from cloudburst.adapters.http import native, onestep, public_image
from cloudburst.adapters.http.connection import validate_address, validate_key
from cloudburst.adapters.http.native import NativeRenderer
from cloudburst.adapters.http.onestep import OnestepRenderer
from cloudburst.adapters.http.upload_files import FileHasher
from cloudburst.errors import (
    CapacityError,
    ConfigurationError,
    KeyRefusedError,
    LaunchError,
    OutputWriteError,
    Remedy,
    SceneError,
    WorkerError,
    WorkerProtocolError,
    WorkerUnfitError,
)
from cloudburst.models.default_performance import endpoints_kind, endpoints_performance
from cloudburst.models.film import WorkerFilm
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import OutputLocation
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.models.task import (
    FoundTask,
    LaunchRequest,
    Protocol,
    Secrets,
    TaskId,
    TaskState,
    TaskStatus,
)
from cloudburst.ports import (
    Backend,
    Connect,
    DownloadedVideo,
    EncodedVideo,
    OnProgress,
    OnVerified,
    RemoteFiles,
    Renderer,
    Turn,
    UploadedScene,
    at_once,
)

INITIAL_COOLDOWN = 10.0
"""Seconds for which an address is not used after its first failure. Other addresses take its
scenes; if the address were used again at once, scene after scene would fail there."""
COOLDOWN_FACTOR, MAX_COOLDOWN = 4.0, 600.0
"""Factor by which the cooldown (`INITIAL_COOLDOWN`) grows with each further failure in a row, and
its maximum in seconds. The program at the address may not be a worker at all, and each use costs a
scene one attempt."""
MAX_FAILURES_SHOWN = 3
MAX_FAILED_SCENES = 3
"""Number of scenes in a row that fail on one worker before the worker itself counts as failed,
although it answers."""
READY_TOLERANCE = 0.1
"""Tolerance of ``Timeouts.ready``, in seconds. If a connection had no successful health check and
ends after that timeout minus this tolerance, the worker never became ready."""
_ONESTEP = "the protocol onestep of the public image (our image also has native)"
"""Words for workers with this protocol in the errors of options."""


@asynccontextmanager
async def open_endpoints_backend(
    addresses: Sequence[str],
    *,
    key: str,
    protocol: Protocol,
    encoders: int = 1,
    timeouts: Timeouts,
) -> AsyncGenerator[Backend]:
    """Open a backend of workers that already run; it starts and stops no worker.

    Args:
        addresses: Base URLs of the workers. With ``https``, a worker is verified with the
            certificate authorities of this system.
        key: Key of all workers; empty if they require none.
        protocol: Protocol of all workers.
        encoders: Number of scenes that each worker encodes at once. Pass more than 1 only for our
            own render service: concurrent encodes on the public image interfere with each other.
        timeouts: ``silence``, ``call`` and ``ready`` are used.

    Raises:
        ConfigurationError: An address, the key or ``encoders`` is invalid.
    """
    secrets = Secrets(key=validate_key(key))
    if encoders < 1:
        msg = f"encoders={encoders}: at least 1"
        raise ConfigurationError(msg)
    endpoints = _parse_addresses(addresses)
    launcher = EndpointLauncher(endpoints)
    onestep_factor = onestep.MAX_ENCODE_SECONDS_PER_AUDIO_SECOND
    yield Backend(
        name="endpoints",
        launcher=launcher,
        connect=_connect(launcher, protocol, timeouts),
        capacity=len(endpoints),
        encoder_slots=encoders,
        cancels_encodes=protocol is Protocol.NATIVE,
        queues_jobs=protocol is Protocol.NATIVE,
        shares_uplink=True,
        find_unsupported=(
            partial(public_image.find_unsupported, image=_ONESTEP)
            if protocol is Protocol.ONESTEP
            else None
        ),
        new_secrets=lambda: secrets,
        kind=endpoints_kind([endpoint.address for endpoint in endpoints], protocol),
        performance=endpoints_performance(protocol, encoder_slots=encoders),
        encode_timeout_factor=onestep_factor if protocol is Protocol.ONESTEP else 0.0,
    )


@dataclass(eq=False, slots=True, kw_only=True)
class Endpoint:
    """Address of a worker, with its current task and its recent failures."""

    address: str
    task: TaskId | None = None
    """Task that uses the address now; ``None`` if the address is unused."""
    cooldown_until: float = -math.inf
    """Time until which the address is not used after a failure, on the clock of
    `anyio.current_time`."""
    failures_in_a_row: int = 0
    failure: str = ""
    """Reason of the last failure, or why the worker is not ready yet; empty if there is none."""
    unusable: bool = False
    """True if another program answers at the address, the worker requires another key, or the
    worker never became ready."""
    scenes_failed: bool = False
    """True if the worker answers but its last scene failed. The address can then be used before
    `cooldown_until`, but only if no address is in use and all are in their cooldown."""
    last_used: float = -math.inf
    """End of the last use of the address, on the clock of `anyio.current_time`."""


class EndpointLauncher:
    """Launcher that assigns addresses to tasks; nothing is started or stopped."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._tasks: dict[str, TaskId] = {}  # by the token of the request
        self._numbers = count(1)

    @property
    def has_single_address(self) -> bool:
        """True if there is only one address."""
        return len(self._endpoints) == 1

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Assign an unused address to a task, preferably one that has not failed recently.

        Raises:
            CapacityError: All addresses are in use or have just failed.
            LaunchError: None of the addresses has a usable worker.
        """
        if (task := self._tasks.get(request.token)) is not None:
            return task
        now = anyio.current_time()
        idle = [endpoint for endpoint in self._endpoints if endpoint.task is None]
        free = [endpoint for endpoint in idle if endpoint.cooldown_until <= now]
        if not free and len(idle) == len(self._endpoints):
            free = [endpoint for endpoint in idle if endpoint.scenes_failed]
        if not free:
            raise self._no_free_address()
        chosen = min(free, key=lambda endpoint: (endpoint.cooldown_until, endpoint.last_used))
        chosen.failure = ""
        chosen.task = TaskId(f"{chosen.address}#{next(self._numbers)}")
        self._tasks[request.token] = chosen.task
        return chosen.task

    def _no_free_address(self) -> LaunchError:
        number = len(self._endpoints)
        idle = [endpoint for endpoint in self._endpoints if endpoint.task is None]
        failures = [f"{e.address}: {e.failure}" for e in idle if e.failure]
        if all(endpoint.task is None and endpoint.unusable for endpoint in self._endpoints):
            which = "the address" if number == 1 else f"any of the {number} addresses"
            kind, msg = LaunchError, f"there is no usable worker at {which}"
        else:
            kind, msg = CapacityError, f"all {number} addresses are in use, or have just failed"
        return kind("; ".join([msg, *failures[:MAX_FAILURES_SHOWN]]))

    async def describe(
        self,
        task: TaskId,
        *,
        refresh: bool = False,  # noqa: ARG002
    ) -> TaskStatus:
        """Return the status of a task, which counts as running as long as it has an address.

        The reason in the status says why the worker is not ready.
        """
        for endpoint in self._endpoints:
            if endpoint.task == task:
                return TaskStatus(
                    state=TaskState.RUNNING, address=endpoint.address, reason=endpoint.failure
                )
        return TaskStatus(state=TaskState.STOPPED, reason="its address was released")

    async def stop(self, task: TaskId, *, reason: str) -> None:  # noqa: ARG002
        """Release the address of a task. The worker at the address continues to run."""
        for endpoint in self._endpoints:
            if endpoint.task == task:
                endpoint.task = None
                endpoint.last_used = anyio.current_time()

    async def find(self, run: str) -> Sequence[FoundTask]:  # noqa: ARG002
        """Return an empty sequence, because addresses are assigned within this process only."""
        return ()

    async def post_mortem(self, task: TaskId) -> str | None:  # noqa: ARG002
        """Return ``None``: nothing is known about the program at an address."""
        return None

    def set_failure(self, address: str, failure: str) -> None:
        """Record why the worker at an address is not ready; empty if it is ready."""
        self._endpoint(address).failure = failure

    def record_success(self, address: str) -> None:
        """Record that the worker at an address has made a video."""
        endpoint = self._endpoint(address)
        endpoint.scenes_failed = endpoint.unusable = False
        endpoint.failures_in_a_row, endpoint.failure = 0, ""
        endpoint.cooldown_until = -math.inf

    def record_failure(
        self, address: str, failure: str, *, scenes_failed: bool = False, unusable: bool = False
    ) -> None:
        """Record why the worker at an address failed, and do not use the address for a while."""
        endpoint = self._endpoint(address)
        endpoint.scenes_failed, endpoint.unusable = scenes_failed, unusable
        cooldown = min(MAX_COOLDOWN, INITIAL_COOLDOWN * COOLDOWN_FACTOR**endpoint.failures_in_a_row)
        endpoint.failures_in_a_row += 1
        endpoint.failure, endpoint.cooldown_until = failure, anyio.current_time() + cooldown

    def _endpoint(self, address: str) -> Endpoint:
        return next(endpoint for endpoint in self._endpoints if endpoint.address == address)


def _connect(launcher: EndpointLauncher, protocol: Protocol, timeouts: Timeouts) -> Connect:
    """Return a function that connects to a worker and afterwards records success or failure."""
    hasher = FileHasher()

    @asynccontextmanager
    async def connect(address: str, *, secrets: Secrets) -> AsyncGenerator[Renderer]:
        connection = (
            onestep.connect(address, secrets=secrets, timeouts=timeouts, hasher=hasher)
            if protocol is Protocol.ONESTEP
            else native.connect(address, secrets=secrets, timeouts=timeouts, hasher=hasher)
        )
        async with connection as renderer:
            observed = _ObservedRenderer(
                renderer,
                lambda failure: launcher.set_failure(address, failure),
                has_single_address=launcher.has_single_address,
            )
            started_at, ready_timeout = anyio.current_time(), timeouts.ready or math.inf
            try:
                yield observed
            finally:
                if isinstance(renderer, NativeRenderer):
                    await renderer.delete_jobs()
                if renderer.has_abandoned_encode and not observed.failure:
                    observed.failure = "it still encodes an abandoned scene"
                if observed.failure:
                    ready_by = started_at + ready_timeout - READY_TOLERANCE
                    never_ready = not observed.was_healthy and anyio.current_time() >= ready_by
                    unusable = observed.wrong_key_or_protocol or never_ready
                    launcher.record_failure(address, observed.failure, unusable=unusable)
                elif observed.scene_failure:
                    launcher.record_failure(address, observed.scene_failure, scenes_failed=True)
                elif observed.made_video:
                    launcher.record_success(address)

    return connect


class _ObservedRenderer:
    """Client of a worker that records the successes and failures of the worker."""

    def __init__(
        self,
        renderer: NativeRenderer | OnestepRenderer,
        set_failure: Callable[[str], None],
        *,
        has_single_address: bool,
    ) -> None:
        self.failure = ""
        """Reason why the worker cannot be used; empty if it can."""
        self.wrong_key_or_protocol = False
        """True if the worker requires another key or uses another protocol."""
        self.was_healthy = False
        self.scene_failure = ""
        """Reason why the last scene failed on the worker; empty if it did not fail."""
        self.made_video = False
        self._renderer = renderer
        self._set_failure = set_failure
        self._has_single_address = has_single_address
        self._failed_scenes = 0  # in a row

    @property
    def has_abandoned_encode(self) -> bool:
        return self._renderer.has_abandoned_encode

    async def is_healthy(self) -> bool:
        """Return whether the worker answers, accepts the key and uses the protocol.

        Any program may run at an address that a user has typed. Without this check, a scene would
        be sent to that program and would wait for the whole timeout of an encode.

        Raises:
            KeyRefusedError: The worker refuses the key.
            WorkerUnfitError: The worker answers that it cannot render.
        """
        with self._observe():
            healthy = await self._renderer.is_healthy()
            if healthy and not self.was_healthy:
                healthy = await self._renderer.check_key()
        self.was_healthy = self.was_healthy or healthy
        self.failure = "" if healthy else self._renderer.health_failure
        self._set_failure(self.failure)
        return healthy

    async def discard_jobs(self) -> None:
        with self._observe():
            await self._renderer.discard_jobs()

    async def upload(
        self,
        scene: Scene,
        options: RenderOptions,
        *,
        remote: RemoteFiles | None = None,
        turn: Turn = at_once,
    ) -> UploadedScene:
        with self._observe():
            return await self._renderer.upload(scene, options, remote=remote, turn=turn)

    async def upload_film(
        self, film: WorkerFilm, *, remote: RemoteFiles, on_file: Callable[[], None]
    ) -> UploadedScene:
        with self._observe():
            return await self._renderer.upload_film(film, remote=remote, on_file=on_file)

    def discard(self, upload: UploadedScene) -> None:
        self._renderer.discard(upload)

    async def encode(self, upload: UploadedScene, *, progress: OnProgress) -> EncodedVideo:
        with self._observe():
            return await self._renderer.encode(upload, progress=progress)

    async def download(
        self,
        output: EncodedVideo,
        to: OutputLocation,
        *,
        on_verified: OnVerified | None = None,
        remote: RemoteFiles | None = None,
    ) -> DownloadedVideo:
        with self._observe():
            video = await self._renderer.download(
                output, to, on_verified=on_verified, remote=remote
            )
            self.made_video, self.scene_failure, self._failed_scenes = True, "", 0
            return video

    @contextmanager
    def _observe(self) -> Generator[None]:
        """Record errors of the worker; raise `WorkerProtocolError` after several failed scenes."""
        try:
            yield
        except WorkerError as exc:
            if isinstance(exc, WorkerUnfitError) and not self._has_single_address:
                exc.remedy = Remedy.OTHER_WORKER  # other addresses are other installations
            self.failure = str(exc)
            self.wrong_key_or_protocol = isinstance(exc, (KeyRefusedError, WorkerProtocolError))
            raise
        except OutputWriteError:
            raise  # a problem of this machine
        except SceneError as exc:
            if not exc.retryable:
                raise  # a problem of the scene
            self.scene_failure = str(exc)
            self._failed_scenes += 1
            if self._failed_scenes < MAX_FAILED_SCENES:
                raise
            self.failure = f"{MAX_FAILED_SCENES} scenes in a row failed there: {exc}"
            raise WorkerProtocolError(self.failure) from exc


def _parse_addresses(addresses: Sequence[str]) -> tuple[Endpoint, ...]:
    if isinstance(addresses, str) or not addresses:
        msg = f"{addresses!r}: expected base URLs of workers, at least one"
        raise ConfigurationError(msg)
    endpoints = [
        Endpoint(address=str(validate_address(address)).rstrip("/")) for address in addresses
    ]
    seen: set[str] = set()
    for endpoint in endpoints:
        if endpoint.address in seen:
            msg = f"{endpoint.address} is given twice: each address is one worker"
            raise ConfigurationError(msg)
        seen.add(endpoint.address)
    return tuple(endpoints)
