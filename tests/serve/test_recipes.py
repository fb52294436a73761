"""The recipes on the page about the standing server run."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from support.doc_pages import blocks
from support.video_probe import probe

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]

PAGE = "docs/standing.md"


def recipe(language, text, server):
    """Return the block of the page that contains a text, for the server of the test."""
    (code,) = [block for block in blocks(PAGE, language) if text in block]
    return code.replace("http://localhost:8080", server.url).replace(
        "Bearer KEY", f"Bearer {server.key}"
    )


def test_curl(server, make_scene, tmp_path):
    made = make_scene("a", seconds=0.3)
    for path, name in ((made["image_path"], "01.png"), (made["audio_path"], "01.wav")):
        Path(path).rename(tmp_path / name)
    done = subprocess.run(
        ["sh", "-euc", recipe("sh", "-F files=@01.png", server)],
        cwd=tmp_path,
        env=os.environ | {"CLOUDBURST_SERVE_KEYS": server.key},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["complete"], done.stderr
    assert "event: job.finished" in (tmp_path / "events.txt").read_text()
    assert probe(tmp_path / "film.mp4").seconds == pytest.approx(1.3, abs=0.1)


class Workflow:
    """A workflow of n8n, as far as this page uses it."""

    def __init__(self, document, http):
        self.nodes = {node["name"]: node for node in document["nodes"]}
        self.connections, self.http = document["connections"], http

    def run(self, name):
        """Run all nodes from one on; return the names of nodes that were run, and the last item."""
        item, names = {}, []
        while name is not None:
            names.append(name)
            item, output = self.step(self.nodes[name], item)
            following = self.connections.get(name, {"main": [[]]})["main"][output]
            name = following[0]["node"] if following else None
        return names, item

    def step(self, node, item):
        parameters = node["parameters"]
        match node["type"].rpartition(".")[2]:
            case "manualTrigger":
                return item, 0
            case "wait":
                assert parameters == {"amount": 10}
                time.sleep(0.2)
                return item, 0
            case "if":
                (one,) = parameters["conditions"]["conditions"]
                assert one["operator"]["operation"] == "notEmpty"
                return item, 0 if self.value(one["leftValue"], item) not in ("", "None") else 1
            case "httpRequest":
                return self.request(parameters, item), 0

    def request(self, parameters, item):
        answer = self.http.request(
            parameters["method"],
            self.value(parameters["url"], item),
            headers={
                one["name"]: one["value"] for one in parameters["headerParameters"]["parameters"]
            },
            json=json.loads(parameters["jsonBody"]) if parameters.get("sendBody") else None,
        )
        assert answer.is_success, answer.text
        return answer.content if "options" in parameters else answer.json()

    @staticmethod
    def value(text, item):
        """Return a text; one that begins with ``=`` has expressions about the item."""

        def found(match):
            value = item
            for name in match[1].split("."):
                value = value[name]
            return str(value)

        if not text.startswith("="):
            return text
        return re.sub(r"{{ \$json\.([\w.]+) }}", found, text[1:])


def test_n8n(server, tmp_path):
    document = json.loads(recipe("json", "n8n-nodes-base", server))
    with server.http() as http:
        names, film = Workflow(document, http).run("Start")
    assert names[:4] == ["Start", "Render", "Wait", "Look"]
    assert names[-2:] == ["Finished?", "Film"]
    (tmp_path / "film.mp4").write_bytes(film)
    assert probe(tmp_path / "film.mp4").seconds == pytest.approx(2, abs=0.1)
