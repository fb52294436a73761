"""The pages about the standing server run, and one server has the callers on them and others."""

import json
import os
import re
import shlex
import socket
import sys
import time
from configparser import ConfigParser
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx
import httpx2
import mcp
import pytest
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from cloudburst.cli.app import app
from cloudburst.cli.serve import standing_jobs
from cloudburst.jobs.webhooks.signature import decode_secrets, signed_headers
from cloudburst.serve.keys import Keys, keys_for
from cloudburst.service.connections import MAX_OPEN_CONNECTIONS
from cloudburst.web import RequestLimits
from support.doc_blocks import in_shell, run_page
from support.doc_pages import blocks, quoted, table_of
from support.needed_programs import find_program
from support.old_calls import without_settings
from support.project import ROOT
from support.video_probe import probe
from support.webhook_receiver import SECRET

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]

INSTALLED = "pip would use the network"
SERVED = "it runs until Ctrl-C: the other tests of this folder start it"
NO_DOCKER = "it needs Docker"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder without settings, which has the examples."""
    without_settings(monkeypatch, tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def parsed(code):
    """Parse the last command of a block; return its function and its arguments."""
    words = shlex.split(code.splitlines()[-1])
    command, bound, rest = app.parse_args(
        words[words.index("cloudburst") + 1 :], exit_on_error=False, print_error=False
    )
    assert not rest
    return command, bound.arguments


def opened(code):
    """Make the jobs of a server as its command does; without a budget, it is refused."""
    _, arguments = parsed(code)
    standing_jobs(arguments["options"], Path("jobs"))


def with_a_key(code):
    """Run a block that starts a server, with a command that prints its key and its arguments."""
    stub = 'cloudburst() { printf "%s\\n" "$CLOUDBURST_SERVE_KEYS" "$@"; }'
    key, *words = in_shell(f"{stub}\n{code}", {}, "a key of one's own").splitlines()
    _, arguments = parsed(shlex.join(["cloudburst", *words]))
    keys = keys_for(arguments["host"], arguments["public_url"], [key])
    assert keys == [key]
    Keys(keys, arguments["public_url"])
    assert arguments["public_url"] == "https://videos.example.com"


def bounded_by_nginx(code):
    (megabytes,) = re.findall(r"client_max_body_size (\d+)g;", code)
    assert int(megabytes) * 10**9 >= RequestLimits().request_bytes


@pytest.mark.needs("nginx", "openssl")
def test_nginx_accepts_its_configuration(here):
    (code,) = blocks("docs/cookbook/serve.md", "nginx")
    in_shell(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout videos.key -out videos.pem "
        "-subj /CN=videos.example.com",
        {},
        "certificate",
    )
    server = code.replace("/etc/ssl", str(Path.cwd()))
    server = server.replace("listen 443 ssl", "listen unix:nginx.sock ssl")
    Path("nginx.conf").write_text(f"events {{}}\nhttp {{\n{server}\n}}\n")
    check = "-t -p . -c nginx.conf -g 'pid nginx.pid; error_log stderr;'"
    in_shell(f"{find_program('nginx')} {check}", {}, "nginx")


@pytest.mark.needs("openssl")
def test_every_block_about_the_server_is_run(here, monkeypatch):
    monkeypatch.setenv("AWS_SUBNET_ID", "subnet-0a1b2c3d")
    units = []

    def unit(code):
        reader = ConfigParser(interpolation=None, strict=False)
        reader.optionxform = str
        reader.read_string(code)
        command = reader["Service"]["ExecStart"].replace("\\\n", "")
        units.append(parsed(command.replace("/opt/cloudburst/bin/", "")))

    run_page(
        "docs/cookbook/serve.md",
        instead={
            "pip install": INSTALLED,
            "openssl rand": with_a_key,
            "--owner-usd 20": opened,
            "--source": lambda code: opened(f"{code.strip()} --backend local"),
            "--target serve": NO_DOCKER,
            "[Service]": unit,
            "proxy_pass": bounded_by_nginx,
            "python -m cloudburst.service": SERVED,
            "docker build -t cloudburst .": NO_DOCKER,
            "cloudburst render": parsed,
        },
    )
    ((_, arguments),) = units
    assert arguments["public_url"] == "https://videos.example.com"
    assert "AS serve" in (ROOT / "Dockerfile").read_text("utf-8")


def test_other_hosts_need_the_key_that_is_printed(server):
    assert len(server.key) == 32
    with server.http() as http:
        assert http.get("/api/jobs").status_code == 200
        del http.headers["authorization"]
        assert http.get("/api/jobs").status_code == 401
        assert http.get("/").status_code == 200


def test_idle_connections_of_strangers_do_not_lock_out_who_has_the_key(server):
    address = ("127.0.0.1", httpx.URL(server.url).port)
    with server.http() as http, ExitStack() as strangers:
        job = http.post("/api/jobs", json={"open": True}).json()
        with http.stream("GET", job["links"]["events"]) as events:
            lines = events.iter_lines()
            next(lines)
            for _ in range(MAX_OPEN_CONNECTIONS + 20):
                strangers.enter_context(socket.create_connection(address))
            with server.http() as other:
                assert other.post(job["links"]["cancel"]).status_code == 202
            assert "event: job.finished" in lines, "the open stream is not closed"


@pytest.mark.needs("curl", "jq")
def test_curl(server, make_scene, here):
    """The scene is a short one, with the names of the example."""
    (here / "examples").unlink()
    folder = here / "examples" / "story"
    folder.mkdir(parents=True)
    made = make_scene("a", seconds=0.3)
    Path(made["image_path"]).rename(folder / "01-harbour.jpg")
    Path(made["audio_path"]).rename(folder / "01-harbour.mp3")
    (printed,) = run_page(
        "docs/cookbook/n8n.md",
        environment={"SERVER": server.url, "CLOUDBURST_SERVE_KEYS": server.key},
    )
    assert printed.split() == ["complete"]
    assert "event: job.finished" in Path("events.txt").read_text()
    assert probe(Path("film.mp4")).seconds == pytest.approx(1.3, abs=0.1)


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
    (code,) = blocks("docs/cookbook/n8n.md", "json")
    code = code.replace("http://localhost:8080", server.url)
    small = r"\"options\": {\"size\": \"320x240\"}"
    code = code.replace(r"\"film\": true", rf"\"film\": true, {small}")
    document = json.loads(code.replace("Bearer KEY", f"Bearer {server.key}"))
    with server.http() as http:
        names, film = Workflow(document, http).run("Start")
    assert names[:4] == ["Start", "Render", "Wait", "Look"]
    assert names[-2:] == ["Finished?", "Film"]
    (tmp_path / "film.mp4").write_bytes(film)
    assert probe(tmp_path / "film.mp4").seconds == pytest.approx(2, abs=0.1)


def entries():
    """Return the servers in the configurations of agents on the page."""
    return [
        entry
        for code in blocks("docs/cookbook/agents.md", "json")
        for entry in json.loads(code)["mcpServers"].values()
    ]


def tools_on_the_page():
    return {
        name
        for row in table_of("docs/cookbook/agents.md", "`list_looks`")
        for name in quoted(row[0])
    }


@pytest.mark.anyio
async def test_agent_starts_the_tools_with_the_entry_of_the_page_for_local_files(
    here, make_scene, watch
):
    (entry, _) = entries()
    words = [str(Path(sys.executable).with_name(entry["command"])), *entry["args"]]
    server = StdioServerParameters(
        command=words[0], args=words[1:], cwd=here, env=os.environ | watch.environment
    )
    make_scene("a", seconds=0.2)
    async with mcp.Client(server) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == tools_on_the_page()
        scenes = [{"name": name, "image": "a.png", "duration": 0.4} for name in "ab"]
        job = {"scenes": scenes, "options": {"size": "320x240"}, "film": True}
        made = await called(client, "render", job=job, wait_seconds=60)
        assert made["state"] == "complete", made
        found = await called(client, "results", job=made["id"])
    assert probe(found["film"]).seconds == pytest.approx(0.8, abs=0.1)
    assert watch.left_after(5) == {}
    run_page("docs/cookbook/agents.md", instead={"pip install": INSTALLED})


async def called(client, name, **arguments):
    answer = await client.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


@pytest.mark.anyio
async def test_agent_elsewhere_uses_the_server_with_the_entry_of_the_page(make_scene, server):
    (_, entry) = entries()
    url = entry["url"].replace("http://localhost:8080", server.url)
    headers = {name: value.replace("KEY", server.key) for name, value in entry["headers"].items()}
    picture = await anyio.Path(make_scene("p")["image_path"]).read_bytes()
    with server.http() as http:
        image = http.post("/api/uploads", content=picture).json()["id"]
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with mcp.Client(streamable_http_client(url, http_client=http)) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == tools_on_the_page()
            scene = {"name": "a", "image": image, "duration": 0.4, "options": {"size": "320x240"}}
            made = await called(client, "render", job={"scenes": [scene]}, wait_seconds=60)
            found = await called(client, "results", job=made["id"])
        with server.http() as files:
            video = found["videos"][0]["url"]
            assert video.startswith(f"{server.url}/api/jobs/")
            assert files.get(video).status_code == 200
        del http.headers["authorization"]
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert (await http.post(url, json=body)).status_code == 401
        assert (await http.get(url)).status_code == 405


def test_every_block_about_keys_is_run(here, monkeypatch):
    space = {}
    run_page(
        "docs/cookbook/keys.md",
        space,
        instead={
            "aws sso login": "it needs an AWS account",
            "python -m cloudburst.service": SERVED,
            "cloudburst render": parsed,
        },
    )
    new = "whsec_" + "bmV3" * 8
    monkeypatch.setenv("OLD_SECRET", SECRET)
    monkeypatch.setenv("NEW_SECRET", new)
    for secret in (SECRET, new):
        keys = decode_secrets(secret)
        headers = signed_headers(b"{}", message="msg_1", timestamp=int(time.time()), keys=keys)
        assert space["message_of"](b"{}", headers) == {}
