"""``python serve_jobs.py FOLDER PORT``: jobs over HTTP, on workers in memory.

A scene takes half a second; one whose name begins with ``slow`` a minute. Jobs may name the place
``fargate``.
"""

import sys

import uvicorn

from cloudburst import Client, Limits
from cloudburst.jobs import Places
from cloudburst.testing import FakeCloud
from cloudburst.web import Jobs

folder, port = sys.argv[1], int(sys.argv[2])


def seconds(scene):
    return 60.0 if scene.startswith("slow") else 0.5


places = Places(fargate=FakeCloud(name="fargate", encode=seconds).backend)
client = Client(FakeCloud(encode=seconds).backend, limits=Limits(max_usd=1))
app = Jobs(client, folder, places=places).app
uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
