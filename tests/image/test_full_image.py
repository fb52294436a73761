"""The image of the lock file on a stand-in for the official base: its size, and that it renders.

What was downloaded and packed is kept in ``~/.cache``; the first run takes a minute.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from cloudburst.image.build import build_image
from cloudburst.image.options import LOCK_FILE, ImageOptions
from cloudburst.net.registry.unpack import unpack_layers
from support.project import ROOT
from support.stand_in_base import CACHE, push_base, stand_in_layers

pytestmark = [
    pytest.mark.whole_image,
    pytest.mark.real,
    pytest.mark.long(20),
    pytest.mark.timeout(900),
]
MAX_BYTES = 110_000_000
MAX_OWN_BYTES = 2_000_000
ENTER = """
mount --bind "$1" "$1"
mount -t tmpfs tmpfs "$1/tmp"
mount --rbind /dev "$1/dev"
mount --rbind /proc "$1/proc"
mount -o remount,bind,ro "$1"
root=$1; shift
exec env -i "PATH=$IMAGE_PATH" PYTHONDONTWRITEBYTECODE=1 /usr/sbin/chroot "$root" "$@"
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory, registry_server):
    folder = tmp_path_factory.mktemp("base") / "layout"
    base = push_base(registry_server, folder, stand_in_layers())
    options = ImageOptions(
        base=base,
        base_credentials=registry_server.credentials,
        cache_folder=CACHE.with_name("image"),
    )
    return anyio.run(build_image, options)


def document(image, digest):
    return json.loads((image.folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())


def test_each_architecture_has_at_most_110_mb_in_layers_of_similar_size(image):
    for platform in image.platforms:
        assert platform.size <= MAX_BYTES, platform
        sizes = {layer.name: layer.size for layer in platform.layers}
        assert sizes["our package"] <= MAX_OWN_BYTES
        assert {"av 1/2", "av 2/2", "noto-cjk-sans-otc", "packages"} <= sizes.keys()
        added = [size for name, size in sizes.items() if name != "base"]
        assert max(added) < 20_000_000
        locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK_FILE.read_text(), re.MULTILINE))
        assert {name for name, _ in platform.packages} == locked


def can_unshare():
    command = ["unshare", "--user", "--map-user=10001", "--mount", "true"]
    return sys.platform == "linux" and not subprocess.run(command, check=False).returncode


@pytest.mark.needs("unshare")
def test_the_image_renders_as_its_user_on_a_root_that_is_read_only(image, tmp_path):
    machine = os.uname().machine
    if machine not in {"x86_64", "aarch64"} or not can_unshare():
        pytest.skip("this machine has no user namespaces")
    platform = image.platforms[machine == "aarch64"]
    manifest = document(image, platform.digest)
    paths = [image.folder / "blobs/sha256" / one["digest"][7:] for one in manifest["layers"]]
    root = tmp_path / "root"
    anyio.run(unpack_layers, paths, root)
    check = Path(ROOT, "docker/check_render.py").read_text()
    environ = document(image, manifest["config"]["digest"])["config"]["Env"]
    path = next(one for one in environ if one.startswith("PATH="))

    def run(*command):
        enter = ["unshare", "--user", "--map-user=10001", "--map-group=10001", "--keep-caps"]
        return subprocess.run(
            [*enter, "--mount", "sh", "-ec", ENTER, "sh", str(root), *command],
            env={**os.environ, "IMAGE_PATH": path.removeprefix("PATH=")},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    rendered = run("python", "-c", check)
    assert (rendered.returncode, rendered.stderr) == (0, "")
    code = (
        "import os, sys, cloudburst.service.app as a; print(os.getuid(), sys.prefix, a.__cached__)"
    )
    uid, prefix, cached = run("python", "-c", code).stdout.split()
    assert (uid, prefix) == ("10001", "/opt/cloudburst")
    assert cached.endswith(".cpython-313.pyc")
    assert (root / cached.lstrip("/")).exists()
    for program in (["sleep", "0"], ["env"]):  # those of the watchdog
        assert run(*program).returncode == 0
