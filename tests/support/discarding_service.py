"""A service that keeps nothing, native and onestep: for measuring the client.

Run as a script it serves on a free port of loopback and prints it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from support.fake_native_service import mp4

VIDEO = mp4(bytes(30_000_000))
SHA256 = hashlib.sha256(VIDEO).hexdigest()


async def file(request):
    async for _ in request.stream():
        pass
    return Response(status_code=404 if request.method == "HEAD" else 201)


async def post_job(request):
    return JSONResponse({"id": uuid4().hex, "state": "queued"}, 201)


async def events(request):
    done = {"seconds": 1.0, "size": len(VIDEO), "sha256": SHA256}
    return Response(json.dumps({"state": "done", "progress": 1.0, "done": done}) + "\n")


async def video(request):
    async def pieces():
        for at in range(0, len(VIDEO), 65536):
            yield VIDEO[at : at + 65536]

    return StreamingResponse(pieces(), headers={"Content-Length": str(len(VIDEO))})


async def create(request):
    async for _ in request.stream():
        pass
    return JSONResponse({"download_endpoint": "/download/1", "size": len(VIDEO)})


async def delete_job(request):
    return Response(status_code=204)


APP = Starlette(
    routes=[
        Route("/files/{sha}", file, methods=["HEAD", "PUT"]),
        Route("/jobs", post_job, methods=["POST"]),
        Route("/jobs/{id}/events", events),
        Route("/jobs/{id}/video", video),
        Route("/create_video_onestep", create, methods=["POST"]),
        Route("/download/1", video),
        Route("/jobs/{id}", delete_job, methods=["DELETE"]),
    ]
)

if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(APP, log_level="error")).run(sockets=[listener])
