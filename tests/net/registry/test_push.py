"""Images reach a real registry, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.emulator.worker_address import WorkerProxy
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.documents import Platform
from cloudburst.net.registry.errors import DigestError, InvalidImageError, NotInRegistryError
from cloudburst.net.registry.http import TransferPolicy
from cloudburst.net.registry.images import pull_image, push_image
from cloudburst.net.registry.unpack import unpack_layers
from support.oci_layouts import LayoutWriter, digest_of, small_image, tar_of, total_size

pytestmark = [pytest.mark.anyio, pytest.mark.real]

POLICY = TransferPolicy(
    first_delay=0.001,
    max_delay=0.001,
    idle_timeout=20,
    attempts=30,  # several cuts may be in one blob
)
SEEDS = range(30)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts") / "image"
    return folder, small_image(folder)


@asynccontextmanager
async def client_of(server, url=None):
    async with open_registry(url or server.url, server.credentials, policy=POLICY) as client:
        yield client


async def test_an_image_is_pushed_and_pulled(registry_server, layout, tmp_path):
    folder, digest = layout
    name = registry_server.new_repository("team/image")
    seen = []
    async with client_of(registry_server) as client:
        report = await push_image(client, folder, name, "1.0", on_progress=seen.append)
        assert (report.digest, report.bytes_present) == (digest, 0)
        assert report.bytes_sent >= total_size(folder)
        assert seen[-1].bytes_done == seen[-1].bytes_total
        assert seen[-1].blobs_done == seen[-1].blobs_total == 7
        for reference, platform in (("1.0", "amd64"), (digest, "arm64")):
            blobs = tmp_path / "blobs"
            image = await pull_image(client, name, reference, Platform(platform), blobs)
            assert image.config.entrypoint == ("/bin/start",)
            assert image.config.environment == {"A": "b"}
            root = tmp_path / platform
            await unpack_layers(image.layer_paths, root)
            assert (root / "opt/own").read_bytes() == b"one"
            assert os.access(root / "bin/start", os.X_OK)
        with pytest.raises(NotInRegistryError, match=r"linux/riscv64; it has linux/amd64"):
            await pull_image(client, name, "1.0", Platform("riscv64"), blobs)


async def test_an_image_for_another_platform_than_its_index_says_is_refused(
    registry_server, tmp_path
):
    writer = LayoutWriter(tmp_path / "image")
    manifest = writer.image("amd64", [tar_of(("a", b"1"))])
    writer.finish(manifest | {"platform": {"architecture": "arm64", "os": "linux"}})
    name = registry_server.new_repository()
    async with client_of(registry_server) as client:
        await push_image(client, writer.folder, name, "1")
        with pytest.raises(NotInRegistryError, match="is for linux/amd64, not for linux/arm64"):
            await pull_image(client, name, "1", Platform("arm64"), tmp_path / "blobs")
        # Without an index, the configuration alone names the platform.
        await pull_image(client, name, manifest["digest"], Platform("amd64"), tmp_path / "blobs")


async def test_what_the_registry_has_is_not_sent(registry_server, layout, tmp_path):
    folder, digest = layout
    name = registry_server.new_repository()
    async with client_of(registry_server) as client:
        await push_image(client, folder, name, "1")
        again = await push_image(client, folder, name, "1")
        assert (again.bytes_sent, again.digest) == (0, digest)
        assert again.bytes_present == total_size(folder)
        other = tmp_path / "other"
        changed = small_image(other, own=b"two")
        report = await push_image(client, other, name, "1")
        assert report.digest == changed != digest
        assert report.bytes_sent < 10_000
        assert (await client.resolve(name, "1"))[0].digest == changed
        assert (await client.resolve(name, digest))[0].digest == digest


async def test_an_exception_of_the_caller_ends_a_push(registry_server, layout):
    def fail(_):
        raise ZeroDivisionError

    name = registry_server.new_repository()
    async with client_of(registry_server) as client:
        with pytest.raises(ZeroDivisionError):
            await push_image(client, layout[0], name, "1", on_progress=fail)


@pytest.mark.needs("skopeo")
async def test_skopeo_reads_the_image(registry_server, layout):
    folder, digest = layout
    name = registry_server.new_repository()
    async with client_of(registry_server) as client:
        await push_image(client, folder, name, "1")
    login = f"--creds={registry_server.username}:{registry_server.password}"
    image = f"docker://{registry_server.host}/{name}:1"
    options = ["--tls-verify=false", login, image]
    index = await anyio.run_process(["skopeo", "inspect", "--raw", *options])
    assert digest_of(index.stdout) == digest
    for architecture in ("amd64", "arm64"):
        command = ["skopeo", "--override-arch", architecture, "inspect", *options]
        found = json.loads((await anyio.run_process(command)).stdout)
        assert (found["Architecture"], found["Os"]) == (architecture, "linux")
        assert len(found["Layers"]) == 3


def damage(folder, what):
    blobs = sorted((folder / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    match what:
        case "layer of another size":
            blobs[-1].write_bytes(blobs[-1].read_bytes() + b"x")
        case "layer with another digest":
            data = bytearray(blobs[-1].read_bytes())
            data[1000] ^= 1
            blobs[-1].write_bytes(data)
        case "missing layer":
            blobs[-1].unlink()
        case "manifest with another digest":
            manifest = next(path for path in blobs if b'"layers": [' in path.read_bytes())
            manifest.write_bytes(manifest.read_bytes() + b" ")
        case "no index":
            (folder / "index.json").unlink()
        case "empty index":
            (folder / "index.json").write_text('{"schemaVersion": 2}')


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("layer of another size", InvalidImageError),
        ("layer with another digest", DigestError),
        ("missing layer", InvalidImageError),
        ("manifest with another digest", DigestError),
        ("no index", InvalidImageError),
        ("empty index", InvalidImageError),
    ],
)
async def test_a_damaged_layout_gets_no_tag(what, error, registry_server, tmp_path):
    folder = tmp_path / "image"
    small_image(folder, seed=what)
    damage(folder, what)
    name = registry_server.new_repository()
    async with client_of(registry_server) as client:
        with pytest.raises(error):
            await push_image(client, folder, name, "1")
        with pytest.raises(NotInRegistryError):
            await client.resolve(name, "1")


def layers_and_configs(folder):
    for path in (folder / "blobs/sha256").iterdir():
        if b'"schemaVersion"' not in path.read_bytes()[:40]:
            yield path


@asynccontextmanager
async def cutting_proxy(port, cuts):
    """Yield a URL that forwards to a port, and resets its first connections after some bytes."""
    proxy = WorkerProxy("127.0.0.2", "127.0.0.1", port, cuts=dict(enumerate(cuts)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(proxy.serve)
        yield f"http://127.0.0.2:{port}"
        tasks.cancel_scope.cancel()


@pytest.mark.chaos
@pytest.mark.few(3)
@pytest.mark.parametrize("seed", SEEDS)
async def test_connections_that_break_repeat_only_the_cut_blobs(seed, registry_server, tmp_path):
    """Each push is cut at several random bytes: within a blob, or before its answer arrives."""
    chance = random.Random(seed)
    folder = tmp_path / "image"
    digest = small_image(folder, seed=seed)
    name = registry_server.new_repository()
    cuts = [chance.randrange(1000, 320_000) for _ in range(4)]
    async with (
        cutting_proxy(registry_server.port, cuts) as url,
        client_of(registry_server, url) as client,
    ):
        report = await push_image(client, folder, name, "1")
        assert (await client.resolve(name, "1"))[0].digest == report.digest == digest
        again = await push_image(client, folder, name, "1")
    total = total_size(folder)
    assert total <= report.bytes_sent < total + 1000  # the index is sent with its tag, too
    assert (again.bytes_sent, again.bytes_present) == (0, total)
    check_stored(registry_server, folder)


def check_stored(server, folder):
    for path in layers_and_configs(folder):
        assert server.blob_path(f"sha256:{path.name}").read_bytes() == path.read_bytes()


SCRIPT = """
import os, signal, sys, anyio
from pathlib import Path
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.http import Credentials, TransferPolicy
from cloudburst.net.registry.images import push_image

async def main(url, user, password, folder, name, end):
    def die(progress):
        if progress.bytes_done > int(end):
            os.kill(os.getpid(), signal.SIGKILL)

    policy = TransferPolicy(concurrent_blobs=1)
    async with open_registry(url, Credentials(user, password), policy=policy) as client:
        await push_image(client, Path(folder), name, "1", on_progress=die)

anyio.run(main, *sys.argv[1:])
"""


async def test_what_a_killed_push_has_sent_is_not_sent_again(registry_server, tmp_path):
    folder = tmp_path / "image"
    digest = small_image(folder)
    name, blobs = registry_server.new_repository(), sorted(layers_and_configs(folder), key=size_of)
    end = size_of(blobs[-1]) + size_of(blobs[-2]) // 2  # the largest blob is sent first
    arguments = [registry_server.url, registry_server.username, registry_server.password]
    command = [sys.executable, "-c", SCRIPT, *arguments, str(folder), name, str(end)]
    done = await anyio.run_process(command, check=False)
    assert done.returncode == -signal.SIGKILL
    async with client_of(registry_server) as client:
        report = await push_image(client, folder, name, "1")
    assert (report.digest, report.bytes_present) == (digest, size_of(blobs[-1]))
    rest = total_size(folder) - size_of(blobs[-1])
    assert rest <= report.bytes_sent < rest + 1000  # the index is sent with its tag, too
    check_stored(registry_server, folder)


def size_of(path):
    return path.stat().st_size
