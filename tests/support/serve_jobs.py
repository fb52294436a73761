"""``python serve_jobs.py FOLDER PORT``: jobs over HTTP, on workers in memory.

A scene takes half a second; one whose name begins with ``slow`` a minute.
"""

import sys

import uvicorn

from cloudburst import Client
from cloudburst.testing import FakeCloud
from cloudburst.web import Jobs

folder, port = sys.argv[1], int(sys.argv[2])
cloud = FakeCloud(encode=lambda scene: 60.0 if scene.startswith("slow") else 0.5)
app = Jobs(Client(cloud.backend), folder).app
uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
