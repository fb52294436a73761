"""Delivery of a finished video or film, with its other files, from a native worker to S3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from cloudburst.errors import (
    DownloadError,
    OutputWriteError,
    RenderFailedError,
    WorkerProtocolError,
)
from cloudburst.models.locations import S3Object
from cloudburst.models.scene import cover_path
from cloudburst.models.transfers import TransferFailure, TransferProblem, UploadEvent, UploadRequest
from cloudburst.ports.remote_files import Delivery, RemoteFiles
from cloudburst.ports.renderer import DownloadedVideo, EncodedFile, EncodedVideo, OnVerified
from cloudburst.text import printable_line
from cloudburst.workers.http.connection import HttpConnection
from cloudburst.workers.http.retries import TransferFailedError
from cloudburst.workers.http.transfer_requests import request_transfer

# Media types of objects in S3.
VIDEO_TYPE, COVER_TYPE, SUBTITLES_TYPE = "video/mp4", "image/jpeg", "application/x-subrip"
_FileName: TypeAlias = Literal["video", "cover", "subtitles"]
# Number of times that a worker may report that S3 refuses a file although S3 accepts an object from
# this machine. The first time, S3 may have accepted files again in the meantime.
MAX_FALSE_REFUSALS = 2
# Problems that lie in the bucket or in the permissions, so that every video has them, and no other
# worker helps. If this machine finds the problem as well, the run is paused, and the worker keeps
# the video. A worker that only reports it must not delay the scenes of the other workers.
_OF_THE_BUCKET = {
    TransferProblem.REFUSED,
    TransferProblem.MISSING,
    TransferProblem.EXPIRED,
    TransferProblem.BUSY,
    TransferProblem.FORBIDDEN_ADDRESS,  # a redirect: the bucket is in another region
}


async def deliver_video(
    connection: HttpConnection,
    video: EncodedVideo,
    to: S3Object,
    *,
    remote: RemoteFiles,
    on_verified: OnVerified | None = None,
) -> DownloadedVideo:
    """Let the worker write a video and its cover to S3, verify both, and return the video.

    ``on_verified`` is awaited before the first object is written. The video is the last object; a
    film has subtitles as well.
    """
    if video.sha256 is None:
        raise RenderFailedError("the worker reports no hash of the video", scene=video.scene)
    cover = cover_path(to)
    delivered = DownloadedVideo(
        path=to,
        size=video.size,
        sha256=video.sha256,
        seconds=video.seconds,
        cover=None if video.cover is None else cover,
        cover_sha256=None if video.cover is None else video.cover.sha256,
        by_worker=True,
    )
    if on_verified is not None:
        await on_verified(delivered)
    files: list[tuple[_FileName, S3Object, EncodedFile, str]] = []
    if video.subtitles is not None:
        files.append(("subtitles", to.with_suffix(".srt"), video.subtitles, SUBTITLES_TYPE))
    if video.cover is not None:
        files.append(("cover", cover, video.cover, COVER_TYPE))
    files.append(("video", to, EncodedFile(size=video.size, sha256=video.sha256), VIDEO_TYPE))
    for name, target, file, content_type in files:
        async with remote.delivery(
            video.scene, target, size=file.size, sha256=file.sha256, content_type=content_type
        ) as delivery:
            await _deliver(connection, video, name, delivery)
    return delivered


async def _deliver(
    connection: HttpConnection, video: EncodedVideo, file: _FileName, delivery: Delivery
) -> None:
    """Let the worker write an object, and verify it, also if an earlier attempt has written it."""
    for last in (False, False, True):
        try:
            etags = await _write(connection, video, file, delivery)
        except TransferFailedError as exc:
            if exc.failure.problem is not TransferProblem.EXISTS or last:
                raise _delivery_error(video.scene, file, exc.failure) from exc
            if await delivery.is_written():
                return
        else:
            await delivery.finish(etags)
            return


async def _write(
    connection: HttpConnection, video: EncodedVideo, file: _FileName, delivery: Delivery
) -> Sequence[str]:
    async def sign() -> UploadRequest:
        return UploadRequest(file=file, parts=tuple(await delivery.parts()))

    path, reason = f"/jobs/{video.reference}/uploads", ""
    for _ in range(MAX_FALSE_REFUSALS):
        try:
            event = await request_transfer(connection, path, sign, UploadEvent)
        except TransferFailedError as exc:
            if exc.failure.problem not in _OF_THE_BUCKET:
                raise
            reason = exc.failure.reason
            try:
                await delivery.check_accepted()
            except OutputWriteError as confirmed:
                raise _delivery_error(video.scene, file, exc.failure) from confirmed
        else:
            return event.etags or ()
    msg = (
        f"the worker reports that S3 refuses the {file} of {video.scene} ({reason}), but S3 "
        "accepts objects from this machine: if all workers report it, check conditions on "
        "networks in the policy of the bucket"
    )
    raise WorkerProtocolError(msg)


def _delivery_error(scene: str, file: str, failure: TransferFailure) -> DownloadError:
    """Return the error of a scene for a file that could not be written to S3.

    It is an `OutputWriteError` if every video would have the same problem.
    """
    reason = printable_line(failure.reason)
    if failure.problem in _OF_THE_BUCKET:
        return OutputWriteError(
            f"the {file} of {scene} cannot be written to S3: {reason}", scene=scene
        )
    return DownloadError(f"the {file} of {scene} did not reach S3: {reason}", scene=scene)
