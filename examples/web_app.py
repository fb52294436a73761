"""A web backend that renders what it is sent, and tells how it goes as server-sent events.

Run it with ``uvicorn web_app:app``, then:

    curl -N localhost:8000/videos -H 'content-type: application/json' \
        -d '[{"name": "a", "image": "story/01-harbour.jpg", "audio": "story/01-harbour.mp3"}]'
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, FastAPI

from cloudburst import Client, Limits, Scene, Video
from cloudburst.web import RunEvents, get_client, lifespan

app = FastAPI(lifespan=lifespan(Client(limits=Limits(idle=60, waiting=100))))
OpenClient = Annotated[Client, Depends(get_client)]


@app.post("/videos", response_class=RunEvents)
async def videos(scenes: list[Scene], client: OpenClient) -> RunEvents:
    return RunEvents(client.stream(scenes, to=Path("videos") / uuid4().hex))


@app.post("/video")
async def video(scene: Scene, client: OpenClient) -> Video:
    return await client.render(scene, to=Path("videos") / uuid4().hex)
