"""The web side: routes, the key, and what every request has in common."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudburst.errors import ConfigurationError
from cloudburst.service.config import ServiceSettings
from cloudburst.service.ffmpeg import find_ffmpeg
from cloudburst.service.native import Native
from cloudburst.service.onestep import UNPACK, Onestep
from cloudburst.service.refusal import HANDLERS, Refusal
from cloudburst.service.service import Service

KEY_HEADER = "X-Authentication-Key"


def build_app(service: Service, *, unpack: Sequence[str] = UNPACK) -> Starlette:
    """The application over a service that is open."""
    settings = service.settings
    native, onestep, health = Native(service), Onestep(service, unpack=unpack), Health(settings)
    shut = [Middleware(RequireKey, settings=settings, open_without=False)]
    ajar = [Middleware(RequireKey, settings=settings, open_without=True)]
    sha, job = "/files/{sha256}", "/jobs/{id}"
    return Starlette(
        routes=[
            Route("/health", health.get),
            Route("/create_video_onestep", onestep.create, methods=["POST"], middleware=ajar),
            # As in the public image: who knows the random id may have the video.
            Route("/download/{id}", onestep.download),
            Route("/cleanup", onestep.cleanup),
            Route(sha, native.head_file, methods=["HEAD"], middleware=shut),
            Route(sha, native.put_file, methods=["PUT"], middleware=shut),
            Route("/jobs", native.post_job, methods=["POST"], middleware=shut),
            Route("/jobs", native.delete_jobs, methods=["DELETE"], middleware=shut),
            Route(job, native.get_job, methods=["GET"], middleware=shut),
            Route(job, native.delete_job, methods=["DELETE"], middleware=shut),
            Route(f"{job}/events", native.get_events, methods=["GET"], middleware=shut),
            Route(f"{job}/video", native.get_video, methods=["GET"], middleware=shut),
        ],
        middleware=[Middleware(CountRequests, service=service)],
        exception_handlers=HANDLERS,
    )


class RequireKey:
    """Lets a request through that carries the key."""

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, open_without: bool) -> None:
        self._app = app
        self._key = settings.key
        self._open = open_without and settings.key is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or pass on."""
        if self._open or self._knows(scope):
            await self._app(scope, receive, send)
            return
        answer = {
            "error": "Authentication failed",
            "message": "Invalid authentication key",
            "required_header": KEY_HEADER,
        }
        await Refusal(answer, 401)(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        if self._key is None:
            return False
        name = KEY_HEADER.lower().encode()
        given = next((value for key, value in scope["headers"] if key == name), b"")
        return hmac.compare_digest(given, self._key.get_secret_value().encode())


class CountRequests:
    """Tells the service of requests, so that it knows when it is idle."""

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, counted."""
        if scope["path"] == "/health":  # a container's own check must not keep it alive
            await self._app(scope, receive, send)
            return
        with self._service.request():
            await self._app(scope, receive, send)


class Health:
    """``GET /health``, in the shape of the public image."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._secure = settings.key is not None
        self._ffmpeg: str | None = None

    async def get(self, _: Request) -> Response:
        """Whether this machine can render."""
        if self._ffmpeg is None:
            try:
                self._ffmpeg = (await to_thread.run_sync(find_ffmpeg)).version
            except ConfigurationError as error:
                return JSONResponse({"status": "error", "error": str(error)}, 500)
        secure = {
            "mode": "secure",
            "description": f"Every call but this one and downloads needs {KEY_HEADER}",
            "required_header": KEY_HEADER,
        }
        free = {
            "mode": "default",
            "description": "Anybody may call onestep; native is shut",
        }
        return JSONResponse(
            {
                "status": "healthy",
                "ffmpeg_version": self._ffmpeg,
                "gpu_available": False,
                "output_dir": "jobs",
                "temp_dir": "jobs",
                "authentication": secure if self._secure else free,
                "available_endpoints": [
                    "/create_video_onestep",
                    "/download/<file_id>",
                    "/cleanup",
                    "/files/<sha256>",
                    "/jobs",
                ],
            }
        )
