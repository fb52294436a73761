"""A stand-in for the image ``python:3.13-slim``, which cannot be downloaded everywhere.

``mmdebstrap`` makes it of Debian's packages: those that the official image has too, with Debian's
own Python 3.13 in /usr/bin. The one for ARM64 has the same packages of that architecture, unpacked
and not configured, because configuring them would run their programs.

``python tests/support/stand_in_base.py`` makes it, which takes a minute, in ``~/.cache``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from support.needed_programs import require

CACHE = Path.home() / ".cache" / "cloudburst-tests" / "stand-in-base-1"
SUITE = "trixie"
PACKAGES = (
    "python3.13",
    "libpython3.13-stdlib",
    "libstdc++6",
    "ca-certificates",
    "netbase",
    "tzdata",
)
ARCHITECTURES = ("amd64", "arm64")
TIMEOUT = 600
NAME = "library/python:3.13-slim"
ENV = ("PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
OCI_TYPES = {
    "index": "application/vnd.oci.image.index.v1+json",
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
}
DOCKER_TYPES = {
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
_LEFT_OUT = re.compile(
    r"usr/share/(?:man|locale|info|groff|lintian|linda)/.+"
    r"|usr/share/doc/[^/]+/(?!copyright$).+"
    r"|var/(?:cache|lib/apt/lists|log)/.+|dev/.+|(?:.+/)?__pycache__(?:/.*)?"
)
"""Files that slim images do not have. Official images of Python have no bytecode."""
_CONFIGURED = (
    "etc/passwd",
    "etc/group",
    "var/lib/dpkg/status",
    "etc/ssl/certs/ca-certificates.crt",
)
"""Files that exist only after configuration and are the same for both architectures."""


def stand_in_layers():
    """Return the only layer of each architecture, compressed; make them if they are missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    paths = {name: CACHE / f"{name}.tar.gz" for name in ARCHITECTURES}
    with FileLock(CACHE / "lock"):
        if not all(path.exists() for path in paths.values()):
            _make(paths)
    return paths


def _make(paths):
    require("mmdebstrap")
    configured = CACHE / "configured.tar"
    options = ("--variant=essential", f"--include={','.join(PACKAGES)}")
    _run("mmdebstrap", "--quiet", *options, SUITE, str(configured))
    kept = _read(configured, _CONFIGURED)
    names = re.findall(rb"^Package: (\S+)$", kept["var/lib/dpkg/status"], re.MULTILINE)
    extracted = CACHE / "extracted.tar"
    include = b",".join(names).decode()
    options = ("--variant=extract", "--architectures=arm64", f"--include={include}")
    _run("mmdebstrap", "--quiet", *options, SUITE, str(extracted))
    status = kept["var/lib/dpkg/status"]
    kept["var/lib/dpkg/status"] = status.replace(b"Architecture: amd64", b"Architecture: arm64")
    _write(configured, paths["amd64"], {})
    _write(extracted, paths["arm64"], kept)
    configured.unlink()
    extracted.unlink()


def _run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)


def _path(member):
    return os.path.normpath(f"/{member.name}").lstrip("/")


def _read(archive, names):
    with tarfile.open(archive) as tar:
        return {_path(one): tar.extractfile(one).read() for one in tar if _path(one) in names}


def _write(source, target, added):
    temporary = target.with_suffix(".part")
    with (
        tarfile.open(source) as tar,
        temporary.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as made,
    ):
        for member in tar:
            if not _LEFT_OUT.fullmatch(_path(member)) and _path(member) not in added:
                member.mtime = 0
                made.addfile(member, tar.extractfile(member) if member.isreg() else None)
        for name, data in sorted(added.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    temporary.replace(target)


def write_layout(folder, layers, *, env=ENV, docker=False):
    """Write an OCI image layout of one layer for each architecture, and return its digest.

    ``layers`` has the compressed layers by architecture; ``docker`` selects Docker's media types.
    """
    types = DOCKER_TYPES if docker else OCI_TYPES
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = []
    for architecture, path in layers.items():
        layer = _add(blobs, path.read_bytes(), types["layer"])
        diff_id = f"sha256:{hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()}"
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": list(env), "Cmd": ["python3.13"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "stand-in"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": types["manifest"],
            "config": _add(blobs, config, types["config"]),
            "layers": [layer],
        }
        described = _add(blobs, manifest, manifest["mediaType"])
        manifests.append(described | {"platform": {"architecture": architecture, "os": "linux"}})
    index = {
        "schemaVersion": 2,
        "mediaType": types["index"],
        "manifests": manifests,
    }
    root = _add(blobs, index, index["mediaType"])
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [root]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return root["digest"]


def _add(blobs, content, media_type):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    with suppress(FileExistsError), (blobs / digest).open("xb") as file:
        file.write(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def push_base(server, folder, layers, name=NAME, **options):
    """Push layers as a base image to a registry of the tests, and return its reference."""
    import anyio

    from cloudburst.net.registry.client import open_registry
    from cloudburst.net.registry.images import push_image

    repository, _, tag = name.partition(":")
    write_layout(folder, layers, **options)

    async def push():
        async with open_registry(server.url, server.credentials) as client:
            await push_image(client, folder, repository, tag)

    anyio.run(push)
    return f"{server.host}/{name}"


if __name__ == "__main__":
    for name, path in stand_in_layers().items():
        print(name, path, path.stat().st_size)  # noqa: T201
