"""State that the routes of `Jobs` share: the open queue, limits and permitted folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

import anyio
from starlette.requests import Request

from cloudburst.errors import ClosedError, UnknownJobError
from cloudburst.jobs import Job, JobQueue
from cloudburst.web.access import Access, Authorize, Folders
from cloudburst.web.request_limits import ConcurrencyLimit, RequestLimits
from cloudburst.web.submission_checks import SubmissionRules
from cloudburst.webhooks.definitions import Webhooks

_JOB = re.compile(r"[0-9a-f]{32}")


class JobApi:
    """State that the routes of `Jobs` share."""

    def __init__(
        self,
        *,
        authorize: Authorize | None,
        sources: Sequence[str],
        destinations: Sequence[str],
        limits: RequestLimits,
        webhooks: Webhooks,
    ) -> None:
        self.authorize = authorize
        self.limits = limits
        self.webhooks = webhooks
        self.transfers = ConcurrencyLimit(limits.transfers, "uploads")
        self.streams = ConcurrencyLimit(limits.streams, "event streams")
        self.open_queue: JobQueue | None = None
        """Queue of the jobs; ``None`` outside the lifespan of the app."""
        self.stopping = anyio.Event()
        """Event that is set when the server is about to stop, so that event streams end."""
        self._sources = Folders(sources, "sources")
        self._destinations = Folders(destinations, "destinations")

    @property
    def queue(self) -> JobQueue:
        """Queue of the jobs. Raises `ClosedError` outside the lifespan of the app."""
        if self.open_queue is None:
            msg = (
                "the app has no open Jobs: give it their lifespan, FastAPI(lifespan=jobs.lifespan)"
            )
            raise ClosedError(msg)
        return self.open_queue

    async def find_job(self, request: Request, access: Access) -> Job:
        """Return the job that the path of a request names.

        Raises `UnknownJobError` if it does not exist or has another owner.
        """
        identifier = str(request.path_params["id"])
        if not _JOB.fullmatch(identifier):
            raise UnknownJobError("there is no such job")
        job = await self.queue.job(identifier)
        if job.owner != access.owner:
            raise UnknownJobError(f"there is no job {identifier!r}")
        return job

    def rules(self, access: Access) -> SubmissionRules:
        """Return the rules for submissions of a caller."""
        sources, destinations = access.sources, access.destinations
        return SubmissionRules(
            owner=access.owner,
            sources=self._sources if sources is None else Folders(sources, "sources"),
            destinations=(
                self._destinations
                if destinations is None
                else Folders(destinations, "destinations")
            ),
            limits=self.limits,
            webhooks=self.webhooks,
        )


def base_url(request: Request, parts: int) -> str:
    """Return the path at which the routes are mounted, without a slash at its end.

    ``parts`` is the number of parts of the path of the request below it.
    """
    # Some frameworks remove the part at which an app is mounted from the path.
    raw = cast("bytes | None", request.scope.get("raw_path"))
    path = str(request.scope["path"]) if raw is None else raw.decode("latin-1")
    root = str(request.scope.get("root_path", ""))
    whole = path if path.startswith(root) else root + path
    above = whole.rstrip("/").split("/")[:-parts]
    return "".join(f"/{part}" for part in above if part)
