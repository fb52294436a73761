"""Web application of the render service: its routes, the key check and the health endpoint."""

from __future__ import annotations

import hmac

from anyio import move_on_after
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudburst.models.http_headers import KEY_HEADER
from cloudburst.service.connections import authorised
from cloudburst.service.http_errors import EXCEPTION_HANDLERS, RejectionResponse
from cloudburst.service.native_api import NativeApi
from cloudburst.service.service import RenderService

# Seconds that a health check waits for the end of the test render: less than the 2 s after which a
# client asks again.
SELF_TEST_WAIT = 1.5


def build_app(service: RenderService) -> Starlette:
    """Return the web application of an open render service."""
    native, health = NativeApi(service), HealthEndpoint(service)
    key_required = [Middleware(RequireKey, service=service)]
    sha, job = "/files/{sha256}", "/jobs/{id}"
    app = Starlette(
        routes=[
            Route("/health", health.get),
            Route(sha, native.head_file, methods=["HEAD"], middleware=key_required),
            Route(sha, native.put_file, methods=["PUT"], middleware=key_required),
            Route("/fetches", native.post_fetch, methods=["POST"], middleware=key_required),
            Route("/jobs", native.post_job, methods=["POST"], middleware=key_required),
            Route("/films", native.post_film, methods=["POST"], middleware=key_required),
            Route("/jobs", native.delete_jobs, methods=["DELETE"], middleware=key_required),
            Route(job, native.get_job, methods=["GET"], middleware=key_required),
            Route(job, native.delete_job, methods=["DELETE"], middleware=key_required),
            Route(f"{job}/events", native.get_events, methods=["GET"], middleware=key_required),
            Route(f"{job}/video", native.get_video, methods=["GET"], middleware=key_required),
            Route(f"{job}/cover", native.get_cover, methods=["GET"], middleware=key_required),
            Route(f"{job}/uploads", native.post_upload, methods=["POST"], middleware=key_required),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.router.redirect_slashes = False  # a redirect would repeat any Host that the caller sent
    return app


class RequireKey:
    """Middleware that rejects requests without the service's key."""

    def __init__(self, app: ASGIApp, *, service: RenderService) -> None:
        self._app = app
        self._service = service
        self._key = service.settings.key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 if its key is missing or wrong."""
        if self._has_key(scope):
            # A protected connection is not closed in favour of a newer one. Only authorised
            # requests are counted: otherwise any peer that finds the address could keep a rented
            # machine running.
            with self._service.request_in_progress(), authorised(scope):
                await self._app(scope, receive, send)
            return
        answer = {
            "error": "Authentication failed",
            "message": "Invalid authentication key",
            "required_header": KEY_HEADER,
        }
        await RejectionResponse(answer, 401)(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        if self._key is None:
            return False
        name = KEY_HEADER.lower().encode()
        given = next((value for key, value in scope["headers"] if key == name), b"")
        return hmac.compare_digest(given, self._key.get_secret_value().encode())


class HealthEndpoint:
    """Endpoint ``GET /health``.

    The service is healthy after a successful test render, or at once if it has made none. Without
    that setting it makes one only after a render has failed for a reason other than its files.
    """

    def __init__(self, service: RenderService) -> None:
        self._self_test = service.self_test
        self._tests = service.settings.test_render

    async def get(self, _: Request) -> Response:
        """Return the state of the test render: successful, failed and why, or still running."""
        healthy: dict[str, object] = {"status": "healthy"}
        if self._tests:
            self._self_test.start()
        elif not self._self_test.started:
            return JSONResponse(healthy)
        with move_on_after(SELF_TEST_WAIT):
            await self._self_test.checked.wait()
        if self._self_test.missing is not None:
            failure = {"error": self._self_test.missing, "final": self._self_test.final}
            return JSONResponse({"status": "unhealthy", **failure}, 500)
        if self._self_test.found is None:
            return JSONResponse(
                {"status": "starting", "error": "the test render is still running"}, 503
            )
        return JSONResponse(
            healthy
            | {
                "ffmpeg_version": self._self_test.found.version,
                "missing_confinement": self._self_test.found.missing_layers,
            }
        )
