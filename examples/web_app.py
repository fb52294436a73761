"""Web app that renders uploads, reports progress as server-sent events, and serves the videos.

Run it with ``uvicorn web_app:app``, then:

    curl -iN localhost:8000/videos -F 'scenes=[{"name": "a", "image": "a.jpg", "audio": "a.mp3"}]' \
        -F files=@a.jpg -F files=@a.mp3

The URL of a video is the ``Location`` header of the response plus the name in ``video.path`` of an
event.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse

from cloudburst import Client, Limits
from cloudburst.web import RunEvents, Uploads, exception_handlers, get_client, lifespan

client = Client(limits=Limits(idle=60, queued_scenes=100))
app = FastAPI(lifespan=lifespan(client), exception_handlers=dict(exception_handlers))
Uploaded = Annotated[list[dict[str, Any]], Depends(Uploads("uploads", max_bytes=200_000_000))]
OpenClient = Annotated[Client, Depends(get_client)]


@app.post("/videos", response_class=RunEvents)
async def videos(scenes: Uploaded, client: OpenClient) -> RunEvents:
    folder = uuid4()
    run = client.stream(scenes, to=Path("videos") / folder.hex)
    return RunEvents(run, headers={"Location": f"/videos/{folder}/"})


@app.get("/videos/{folder}/{name}", response_class=FileResponse)
async def finished(folder: UUID, name: str) -> FileResponse:
    path = Path("videos") / folder.hex / name
    if path.suffix != ".mp4" or not path.is_file():
        raise HTTPException(404, "no such video")
    return FileResponse(path)


@app.post("/video", response_class=FileResponse)
async def video(scenes: Uploaded, client: OpenClient) -> FileResponse:
    if len(scenes) != 1:
        raise HTTPException(400, "expected one scene")
    made = await client.render(scenes[0], to=Path("videos") / uuid4().hex)
    return FileResponse(str(made.path), filename=made.path.name)
