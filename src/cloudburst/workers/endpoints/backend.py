"""Backend of render services that already run at given addresses; each service is a worker."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from cloudburst.errors import (
    ConfigurationError,
    KeyRefusedError,
    OutputWriteError,
    Remedy,
    SceneError,
    WorkerError,
    WorkerProtocolError,
    WorkerUnfitError,
)
from cloudburst.models.film import WorkerFilm
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import OutputLocation
from cloudburst.models.performance import endpoints_kind, endpoints_performance
from cloudburst.models.scene import CheckedScene
from cloudburst.models.task import Protocol, Secrets
from cloudburst.ports.backend import Backend, Silence
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import (
    Connect,
    DownloadedVideo,
    EncodedVideo,
    OnProgress,
    OnVerified,
    Renderer,
    Turn,
    UploadedScene,
    at_once,
)
from cloudburst.workers.endpoints.launcher import EndpointLauncher, parse_addresses
from cloudburst.workers.http import native, onestep
from cloudburst.workers.http.connection import validate_key
from cloudburst.workers.http.native import NativeRenderer
from cloudburst.workers.http.onestep import OnestepRenderer

# Number of scenes in a row that fail on one worker before the worker itself counts as failed,
# although it answers.
MAX_FAILED_SCENES = 3
# Tolerance of ``Timeouts.ready`` and ``reach``, in seconds. If a connection had no successful
# health check and ends after that timeout minus this tolerance, the worker never became ready.
READY_TOLERANCE = 0.1


def observed_connect(launcher: EndpointLauncher, protocol: Protocol, timeouts: Timeouts) -> Connect:
    """Return a function that connects to a worker and afterwards records success or failure."""

    @asynccontextmanager
    async def connect(address: str, *, secrets: Secrets) -> AsyncGenerator[Renderer]:
        connection = (
            onestep.connect(address, secrets=secrets, timeouts=timeouts)
            if protocol is Protocol.ONESTEP
            else native.connect(address, secrets=secrets, timeouts=timeouts)
        )
        async with connection as renderer:
            observed = _ObservedRenderer(renderer, launcher, address)
            started_at = anyio.current_time()
            ready_timeout = min(timeouts.ready or math.inf, timeouts.reach or math.inf)
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


@dataclass(eq=False, slots=True, repr=False)
class _ObservedRenderer:
    _renderer: NativeRenderer | OnestepRenderer
    _launcher: EndpointLauncher
    _address: str
    # Reason why the worker cannot be used; empty if it can.
    failure: str = ""
    # True if the worker requires another key or uses another protocol.
    wrong_key_or_protocol: bool = False
    was_healthy: bool = False
    # Reason why the last scene failed on the worker; empty if it did not fail.
    scene_failure: str = ""
    made_video: bool = False
    # Number of scenes in a row that have failed.
    _failed_scenes: int = 0

    @property
    def has_abandoned_encode(self) -> bool:
        return self._renderer.has_abandoned_encode

    @property
    def health_failure(self) -> str:
        return self._renderer.health_failure

    async def is_healthy(self) -> bool:
        """Return whether the worker answers, accepts the key and uses the protocol.

        Any program may run at an address that a user has typed. Without this check, a scene would
        be sent to that program and would wait for the whole timeout of an encode.
        """
        with self._observe():
            healthy = await self._renderer.is_healthy()
            if healthy and not self.was_healthy:
                healthy = await self._renderer.check_key()
        self.was_healthy = self.was_healthy or healthy
        self.failure = "" if healthy else self._renderer.health_failure
        self._launcher.set_failure(self._address, self.failure)
        return healthy

    async def discard_jobs(self) -> None:
        with self._observe():
            await self._renderer.discard_jobs()

    async def upload(
        self,
        scene: CheckedScene,
        *,
        remote: RemoteFiles | None = None,
        turn: Turn = at_once,
    ) -> UploadedScene:
        with self._observe():
            return await self._renderer.upload(scene, remote=remote, turn=turn)

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
            if isinstance(exc, WorkerUnfitError) and not self._launcher.has_single_address:
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


# Words for workers with this protocol in the errors of options.
_ONESTEP = "the protocol onestep of the public image"


@asynccontextmanager
async def open_endpoints_backend(
    addresses: Sequence[str],
    *,
    key: str,
    protocol: Protocol,
    encoders: int = 1,
    timeouts: Timeouts,
) -> AsyncGenerator[Backend]:
    """Open a backend of workers that already run; it starts and stops no worker."""
    secrets = Secrets(key=validate_key(key))
    if encoders < 1:
        msg = f"encoders={encoders}: at least 1"
        raise ConfigurationError(msg)
    endpoints = parse_addresses(addresses)
    launcher = EndpointLauncher(endpoints)
    yield Backend(
        name="endpoints",
        launcher=launcher,
        connect=observed_connect(launcher, protocol, timeouts),
        place="endpoints",
        capacity=len(endpoints),
        encoder_slots=encoders,
        shares_uplink=True,
        explain_silence=_explain_silence,
        new_secrets=lambda: secrets,
        kind=endpoints_kind([endpoint.address for endpoint in endpoints], protocol),
        performance=endpoints_performance(protocol, encoder_slots=encoders),
        **(onestep.features(_ONESTEP) if protocol is Protocol.ONESTEP else native.FEATURES),
    )


async def _explain_silence(address: str) -> Silence:
    text = f"start the render service there, or correct the address: curl {address}/health"
    return Silence(text, certain=True)
