"""The registry of the account follows the rules of ECR, and a push succeeds in spite of them."""

from __future__ import annotations

import re
import secrets
import subprocess
from contextlib import asynccontextmanager
from itertools import pairwise

import httpx
import pytest

from cloudburst.aws.setup.ecr_push import translated_registry_errors
from cloudburst.errors import NoAnswerError
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.documents import Platform
from cloudburst.net.registry.errors import NotInRegistryError
from cloudburst.net.registry.http import Credentials, TransferPolicy
from cloudburst.net.registry.images import pull_image, push_image
from cloudburst.testing import EmulatorConfig, FargateEmulator, Fault
from support.emulator_calls import client
from support.oci_layouts import digest_of, small_image, total_size
from support.tiny_images import registry_of

pytestmark = [pytest.mark.anyio, pytest.mark.real]

POLICY = TransferPolicy(first_delay=0.001, max_delay=0.001, attempts=4)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def emulator(registry_server):
    config = EmulatorConfig.quick(registry=registry_of(registry_server), moto=False, confined=False)
    with FargateEmulator(config) as emulator:
        yield emulator


@pytest.fixture
def name(emulator, registry_server):
    name = registry_server.new_repository("gateway")
    client(emulator, "ecr").create_repository(repositoryName=name)
    return name


@pytest.fixture
def folder(tmp_path):
    """Folder of an image whose layers no other test has pushed."""
    small_image(tmp_path / "image", seed=secrets.token_hex())
    return tmp_path / "image"


@asynccontextmanager
async def client_of(emulator):
    registry = emulator.registry
    login = Credentials(registry.username, registry.password)
    async with open_registry(registry.url, login, policy=POLICY) as client:
        yield client


@pytest.fixture
def http(emulator):
    registry = emulator.registry
    login = (registry.username, registry.password)
    with httpx.Client(base_url=registry.url, auth=login, trust_env=False) as http:
        yield http


async def test_an_image_is_pushed_once_and_pulled(emulator, name, folder, tmp_path):
    async with client_of(emulator) as client:
        report = await push_image(client, folder, name, "1")
        assert report.bytes_sent >= total_size(folder)
        again = await push_image(client, folder, name, "1")
        assert (again.bytes_sent, again.bytes_present) == (0, total_size(folder))
        await pull_image(client, name, "1", Platform("amd64"), tmp_path / "blobs")


@pytest.mark.needs("skopeo")
def test_skopeo_pushes_and_pulls_an_image(emulator, name, folder, tmp_path):
    registry = emulator.registry
    image = f"docker://{registry.url.removeprefix('http://')}/{name}:1"
    login = f"{registry.username}:{registry.password}"
    flags = ["--all", "--preserve-digests"]
    there = ["--dest-tls-verify=false", f"--dest-creds={login}", f"oci:{folder}", image]
    subprocess.run(["skopeo", "copy", *flags, *there], check=True, capture_output=True)
    back = ["--src-tls-verify=false", f"--src-creds={login}", image, f"oci:{tmp_path}/back"]
    subprocess.run(["skopeo", "copy", *flags, *back], check=True, capture_output=True)


async def test_a_cut_costs_the_blob_only(emulator, name, tmp_path):
    folder, layer = tmp_path / "image", 1_500_000  # half a layer is several pieces
    small_image(folder, seed=secrets.token_hex(), sizes=(layer, layer - 1))
    emulator.add_fault(Fault(operation="PUT blobs/uploads", kind="truncated"))
    async with client_of(emulator) as client:
        seen = []
        report = await push_image(client, folder, name, "1", on_progress=seen.append)
        assert (await client.resolve(name, "1"))[0].digest == report.digest
    again = [max(0, one.bytes_done - then.bytes_done) for one, then in pairwise(seen)]
    assert 0 < sum(again) < layer


@pytest.mark.parametrize("operation", ["POST blobs/uploads", "PUT blobs/uploads"])
async def test_a_server_error_is_repeated(operation, emulator, name, folder):
    emulator.add_fault(Fault(operation=operation, code="UNKNOWN", status=500))
    async with client_of(emulator) as client:
        report = await push_image(client, folder, name, "1")
        assert (await client.resolve(name, "1"))[0].digest == report.digest


async def test_a_server_error_that_stays_is_told_with_what_to_do(registry_server, folder):
    config = EmulatorConfig.quick(registry=registry_of(registry_server), moto=False, confined=False)
    with FargateEmulator(config) as emulator:
        fault = Fault(operation="PUT blobs/uploads", code="UNKNOWN", status=500, times=None)
        emulator.add_fault(fault)
        async with client_of(emulator) as client:
            with pytest.raises(NoAnswerError) as caught, translated_registry_errors():
                await push_image(client, folder, "cloudburst", "1")
            with pytest.raises(NotInRegistryError):
                await client.resolve("cloudburst", "1")
    assert re.fullmatch(
        r"127\.0\.0\.1:\d+: upload of sha256:\w+ to cloudburst: HTTP 500: run the command again, "
        r"which sends only the layers that did not arrive; if it fails again, look for an "
        r"incident of ECR: https://health\.aws\.amazon\.com",
        str(caught.value),
    )


def begin(http, name):
    answer = http.post(f"/v2/{name}/blobs/uploads/")
    assert answer.status_code == 202
    return answer.headers["Location"]


def code_of(answer):
    return answer.status_code, answer.json()["errors"][0]["code"]


def test_a_repository_must_exist(http):
    for answer in (http.post("/v2/none/blobs/uploads/"), http.get("/v2/none/manifests/1")):
        assert code_of(answer) == (404, "NAME_UNKNOWN")


def test_a_login_is_needed_except_for_the_url_of_a_layer(emulator, http, name):
    data = secrets.token_bytes(9)
    location = begin(http, name)
    query = dict(httpx.URL(location).params) | {"digest": digest_of(data)}
    assert http.put(location, params=query, content=data).status_code == 201
    path = f"/v2/{name}/blobs/{digest_of(data)}"
    with httpx.Client(trust_env=False) as anonymous:
        refused = anonymous.get(emulator.registry.url + path)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith('Basic realm="http://127.0.0.1:')
        moved = http.get(path)
        assert moved.status_code == 307
        assert moved.headers["Location"].startswith("http://localhost:")
        assert anonymous.get(moved.headers["Location"]).content == data
        assert anonymous.get(moved.headers["Location"] + "x").status_code == 401
        assert anonymous.delete(moved.headers["Location"]).status_code == 401
    assert code_of(http.get(moved.headers["Location"])) == (400, "InvalidArgument")
