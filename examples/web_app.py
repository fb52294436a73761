"""Web backend that renders what users upload: watch, play, cancel, delete.

    pip install 'cloudburst-sdk[local,web]' fastapi
    uvicorn --app-dir examples web_app:app

Then open http://localhost:8000, or http://localhost:8000/docs for the API. On Fargate, it spends at
most $5. Everybody who reaches the server may use it: see "Who may do what" in docs/jobs.md. The
same without a page:

    curl localhost:8000/api/jobs -F files=@a.jpg -F files=@a.mp3 \
        -F 'job={"scenes": [{"name": "a", "image": "a.jpg", "audio": "a.mp3"}]}'
"""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

from cloudburst import Client, Limits
from cloudburst.web import Jobs

PAGE = Path(__file__).with_name("web_app.html")

logging.basicConfig()  # shows the causes of errors, which uvicorn does not

jobs = Jobs(Client(limits=Limits(max_usd=Decimal(5))), "jobs")
app = FastAPI(title="Videos", lifespan=jobs.lifespan)
app.include_router(jobs.router(), prefix="/api")


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(PAGE)
