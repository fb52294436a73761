"""Images that are built from a base in a real registry, wheels and this package."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
from dataclasses import replace

import anyio
import pytest

from cloudburst.errors import ConfigurationError, ImageError
from cloudburst.image import build, own_package
from cloudburst.image.build import build_image
from cloudburst.image.built_image import last_image, read_image
from cloudburst.image.layout import ENTRYPOINT, PORT, USER_ID
from cloudburst.image.own_package import sources_hash
from cloudburst.models.task import PROTOCOL_VERSION
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.images import push_image
from cloudburst.net.registry.unpack import unpack_layers, zstd_module
from support.oci_layouts import digest_of
from support.project import ROOT
from support.stand_in_base import push_base
from support.tiny_image import LIBRARY, PASSWD, base_members, write_layer

pytestmark = pytest.mark.real
SITE = "opt/cloudburst/lib/python3.13/site-packages"
MAX_OWN_BYTES = 2_000_000
UNCHECKED_HASH = (1).to_bytes(4, "little")


@pytest.fixture(scope="module")
def root(tiny, tmp_path_factory):
    """The files of the image for x86-64."""
    folder = tmp_path_factory.mktemp("root") / "amd64"
    anyio.run(unpack_layers, layer_paths(tiny), folder)
    return folder


def layer_paths(tiny):
    blobs = tiny.image.folder / "blobs/sha256"
    return [
        blobs / one["digest"].removeprefix("sha256:") for one in tiny.manifest("amd64")["layers"]
    ]


def test_the_configuration_names_the_digests_of_the_layers_before_compression(tiny):
    """Fargate compares them."""
    base, *ours = (path.read_bytes() for path in layer_paths(tiny))
    unpacked = [gzip.decompress(base), *map(zstd_module().decompress, ours)]
    assert tiny.config("amd64")["rootfs"]["diff_ids"] == [digest_of(data) for data in unpacked]


def test_the_index_has_both_platforms(tiny):
    manifests = tiny.document(tiny.image.digest)["manifests"]
    platforms = [one["platform"]["architecture"] for one in manifests]
    assert platforms == ["amd64", "arm64"]
    assert [one.digest for one in tiny.image.platforms] == [one["digest"] for one in manifests]


def test_the_configuration_is_that_of_the_dockerfile(tiny):
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    final = text.rpartition("FROM ")[2]
    config = tiny.config("amd64")["config"]

    def words(instruction):
        return re.search(rf"^{instruction} (.+)$", final, re.MULTILINE)[1]

    assert config["Entrypoint"] == json.loads(words("ENTRYPOINT")) == ENTRYPOINT
    assert config["User"] == words("USER") == f"{USER_ID}:{USER_ID}"
    assert config["Volumes"] == {words("VOLUME"): {}}
    assert config["WorkingDir"] == words("WORKDIR")
    assert list(config["ExposedPorts"]) == [f"{words('EXPOSE')}/tcp"] == [f"{PORT}/tcp"]
    health = re.search(r"HEALTHCHECK .*?CMD (\[.*?\])", final)[1]
    assert config["Healthcheck"]["Test"] == ["CMD", *json.loads(health)]
    variables = dict(one.split("=", 1) for one in config["Env"])
    assert variables["PATH"].startswith("/opt/cloudburst/bin:/usr/local/bin:")
    assert variables["LANG"] == "C.UTF-8", "those of the base stay"
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        assert f"{name}={variables[name]}" in words("ENV")


def test_the_labels_name_versions_and_the_base(tiny):
    labels = tiny.config("arm64")["config"]["Labels"]
    assert labels == tiny.image.labels
    assert labels["cloudburst.protocol"] == "native"
    assert labels["cloudburst.protocol-version"] == str(PROTOCOL_VERSION)
    assert labels["org.opencontainers.image.version"] == tiny.image.version
    assert tiny.image.base.endswith(labels["org.opencontainers.image.base.digest"])
    assert labels["org.opencontainers.image.base.name"] == tiny.options.base
    assert tiny.config("arm64")["architecture"] == "arm64"


def test_the_index_names_its_sources_and_whose_image_it_is(tiny):
    """ECR shows an index, and not a configuration, to who asks for an image."""
    annotations = tiny.document(tiny.image.digest)["annotations"]
    assert annotations == {**tiny.image.labels, "cloudburst.sources": sources_hash()}


def test_the_sources_are_others_after_a_change_of_one_line(request, monkeypatch, tmp_path):
    before = sources_hash()
    assert sources_hash() == before
    request.getfixturevalue("edited")
    edited = sources_hash()
    assert edited != before
    lock = tmp_path / "lock"
    lock.write_text("")
    monkeypatch.setattr(own_package, "LOCK_FILE", lock)
    assert sources_hash() not in {before, edited}


def test_the_layers_are_the_base_packages_and_our_package_last(tiny):
    for platform in tiny.image.platforms:
        names = [layer.name for layer in platform.layers]
        assert names == ["base", "python and user", "packages", "our package"]
        assert platform.layers[-1].size < MAX_OWN_BYTES
        assert platform.size == sum(layer.size for layer in platform.layers)
    assert [name for name, _ in tiny.image.platforms[0].packages] == ["pure", "native"]
    types = [layer["mediaType"].rpartition("+")[2] for layer in tiny.manifest("amd64")["layers"]]
    assert types == ["gzip", "zstd", "zstd", "zstd"]


def test_the_image_has_the_user_and_the_environment_of_the_service(root):
    assert (root / "etc/passwd").read_text().startswith(PASSWD)
    assert f":{USER_ID}:{USER_ID}:" in (root / "etc/passwd").read_text()
    assert f"cloudburst:x:{USER_ID}:" in (root / "etc/group").read_text()
    python = root / "opt/cloudburst/bin/python"
    assert str(python.readlink()) == "../../../usr/local/bin/python3.13"
    assert "home = /usr/local/bin\n" in (root / "opt/cloudburst/pyvenv.cfg").read_text()


def test_nothing_in_the_image_is_setuid(tiny):
    """The base's program is replaced by one without the bit."""
    blobs = tiny.image.folder / "blobs/sha256"
    digest = tiny.manifest("amd64")["layers"][1]["digest"].removeprefix("sha256:")
    listed = subprocess.run(
        ["tar", "--zstd", "-tvf", blobs / digest], capture_output=True, text=True, check=True
    )
    assert re.search(r"^-rwxr-xr-x 0/0 .* usr/bin/su$", listed.stdout, re.MULTILINE)
    assert " opt/\n" not in listed.stdout, "folders of the base keep their modes"


def test_image_has_what_the_service_needs_and_no_more(root):
    packages = root / SITE
    names = sorted(path.name for path in (packages / "cloudburst").iterdir())
    assert names == [
        *("__init__.py", "__pycache__", "concurrency.py", "errors.py", "files.py", "film"),
        *("media", "models", "net", "programs.py", "redaction.py", "renderer", "service"),
        "text.py",
    ]
    libraries = (packages / "cloudburst/renderer/kernel/libs").iterdir()
    assert sorted(path.name for path in libraries) == [
        *("kernel-linux-x86_64-v3.so", "kernel-linux-x86_64.so")
    ]
    assert sorted(path.name for path in (packages / "pure").iterdir()) == [
        *("__init__.py", "__pycache__", "broken.py")
    ]
    assert "x86_64" in (packages / "native/__init__.py").read_text()
    assert (root / "usr/share/licenses/cloudburst/GPL-3.0.txt").stat().st_size > 30_000
    assert (root / "usr/share/licenses/cloudburst/LICENSE").exists()


def test_modules_of_the_base_and_of_packages_have_bytecode_that_is_not_checked(tiny, root):
    if tiny.image.labels["cloudburst.bytecode"] == "none":
        pytest.skip("no Python 3.13 on this machine")
    for module in ("pure/__init__", "cloudburst/service/__main__", "native/__init__"):
        path = root / SITE / module
        data = (path.parent / "__pycache__" / f"{path.name}.cpython-313.pyc").read_bytes()
        assert data[4:8] == UNCHECKED_HASH
        assert f"/{SITE}/{module}.py".encode() in data
    library = root / LIBRARY
    assert (library / "__pycache__/os.cpython-313.pyc").exists()
    assert (library / "json/__pycache__/__init__.cpython-313.pyc").exists()
    assert not (library / "test/__pycache__").exists()
    assert not list((root / SITE / "pure/__pycache__").glob("broken*"))


def test_a_second_build_does_nothing(offline, monkeypatch):
    monkeypatch.setenv("PATH", "")  # neither pip nor a compiler could be started
    monkeypatch.setattr("cloudburst.image.wheel_download.pip_command", lambda environ: ["missing"])
    again = offline.again()
    assert (again.digest, again.reused) == (offline.image.digest, True)


def test_two_builds_at_once_give_the_same_image(offline, tmp_path):
    options = replace(offline.options, cache_folder=tmp_path / "cache", architectures=("amd64",))
    found = []

    async def build():
        found.append(await build_image(options))

    async def both():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(build)
            tasks.start_soon(build)

    anyio.run(both)
    assert found[0].digest == found[1].digest
    assert [made.platforms for made in found] == [offline.image.platforms[:1]] * 2
    blobs = list((found[0].folder / "blobs/sha256").iterdir())
    assert len(blobs) > 5
    for path in blobs:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert leftovers(tmp_path) == []


@pytest.fixture
def edited(monkeypatch, tmp_path):
    """This package, with one line more in a module of the service."""
    files = list(own_package.needed_files())
    changed = tmp_path / "health.py"
    changed.write_text(dict(files)["cloudburst/service/health.py"].read_text() + "\n# edited\n")
    new = [(n, changed if n == "cloudburst/service/health.py" else path) for n, path in files]
    monkeypatch.setattr(own_package, "needed_files", lambda: new)


def test_after_a_change_of_one_line_only_our_layer_is_sent(offline, edited, registry_server):
    repository = registry_server.new_repository("edited")

    async def push(folder):
        async with open_registry(registry_server.url, registry_server.credentials) as client:
            return await push_image(client, folder, repository, "1")

    first = anyio.run(push, offline.image.folder)
    changed = offline.again()
    for before, after in zip(offline.image.platforms, changed.platforms, strict=True):
        assert before.layers[:-1] == after.layers[:-1]
        assert before.layers[-1] != after.layers[-1]
    report = anyio.run(push, changed.folder)
    assert report.digest == changed.digest
    assert 0 < report.bytes_sent <= MAX_OWN_BYTES
    assert report.bytes_present > 0.5 * first.bytes_sent - MAX_OWN_BYTES


@pytest.mark.needs("skopeo")
def test_skopeo_reads_the_image(tiny, tmp_path):
    source = f"oci:{tiny.image.folder}:{tiny.image.version}"
    for platform in tiny.image.platforms:
        override = f"--override-arch={platform.architecture}"
        target = tmp_path / platform.architecture
        subprocess.run(
            ["skopeo", "--insecure-policy", override, "copy", "--quiet", source, f"dir:{target}"],
            check=True,
            capture_output=True,
        )  # checks the digests of all layers
        found = json.loads((target / "manifest.json").read_text())
        assert found == tiny.manifest(platform.architecture)


@pytest.mark.few(1)
@pytest.mark.parametrize("events", [7, 1, 4, 12, 20])
def test_a_cancelled_build_leaves_nothing_half_written(offline, tmp_path, events):
    options = replace(offline.options, cache_folder=tmp_path / "cache")

    async def cancelled():
        with anyio.CancelScope() as scope:
            seen = 0

            def count(progress):
                nonlocal seen
                seen += 1
                if seen == events:
                    scope.cancel()

            await build_image(options, count)
        assert scope.cancelled_caught

    anyio.run(cancelled)
    assert leftovers(tmp_path) == []


def leftovers(folder):
    """Temporary files and folders of builds."""
    found = [*folder.glob("cache/tmp/*"), *folder.rglob("*.part"), *folder.rglob(".compile-*")]
    return [path.name for path in found]


def test_a_base_with_dockers_media_types_gives_an_oci_image(offline, registry_server, tmp_path):
    layer = write_layer(tmp_path / "layer.gz", base_members())
    name = f"{registry_server.new_repository('docker')}:1"
    layers = {"amd64": layer, "arm64": layer}
    base = push_base(registry_server, tmp_path / "docker", layers, name, docker=True)
    image = offline.again(base=base)
    manifest = replace(offline, image=image).manifest("arm64")
    types = {part["mediaType"] for part in [manifest, manifest["config"], *manifest["layers"]]}
    assert all(one.startswith("application/vnd.oci.image.") for one in types)
    assert manifest["layers"][0] == offline.manifest("arm64")["layers"][0]


@pytest.mark.few(1)
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_base_without_an_architecture_is_an_error_that_names_it(
    offline, registry_server, tmp_path, architecture
):
    layer = write_layer(tmp_path / "layer.gz", base_members())
    name = f"{registry_server.new_repository('one')}:1"
    base = push_base(registry_server, tmp_path / "one", {architecture: layer}, name)
    missing = {"amd64": "arm64", "arm64": "amd64"}[architecture]
    with pytest.raises(ImageError, match=f"no manifest for linux/{missing}"):
        offline.again(base=base)
    assert len(offline.again(base=base, architectures=(architecture,)).platforms) == 1


def test_the_record_of_an_image_can_be_read(tiny, tmp_path):
    found = read_image(tiny.image.folder)
    assert (found.digest, found.platforms) == (tiny.image.digest, tiny.image.platforms)
    newest = last_image(tiny.options)
    assert newest is not None
    (tmp_path / "images" / "incomplete").mkdir(parents=True)
    assert last_image(replace(tiny.options, cache_folder=tmp_path)) is None
    with pytest.raises(ImageError, match="no image that cloudburst has built"):
        read_image(tmp_path)
    (tmp_path / "cloudburst.json").write_text('{"platforms": 3}')
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"base": "no such name"}, ConfigurationError, "the base image: 'no such name' is not"),
        ({"base_credentials": None}, ImageError, "cannot be used: .* another one with --base"),
        ({"architectures": ()}, ConfigurationError, "at least one architecture"),
    ],
)
def test_a_failed_build_is_an_error_of_ours(offline, changes, error, message):
    with pytest.raises(error, match=message):
        offline.again(**changes)


def test_without_a_suitable_python_the_image_says_that_it_has_no_bytecode(offline, monkeypatch):
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    image = offline.again(architectures=("amd64",))
    assert image.labels["cloudburst.bytecode"] == "none"
    assert "uv python install 3.13" in image.notes[0]
    assert image.platforms[0].size < offline.image.platforms[0].size
