"""Small images in OCI image layout folders, and tar files for layers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile

from cloudburst.net.registry.documents import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_of(*entries):
    """A tar file of entries: ``("name", b"content")``, ``("name/",)``, ``("link", "->target")``.

    ``"=target"`` makes a hard link. A third value is a mode.
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, *rest in entries:
            archive.addfile(*_entry(name, *rest))
    return file.getvalue()


def _entry(name, content=b"", mode=None):
    info = tarfile.TarInfo(name.rstrip("/") or name)
    info.mtime = 1_000_000_000
    info.mode = mode if mode is not None else 0o755 if name.endswith("/") else 0o644
    if isinstance(content, str):
        info.type = tarfile.SYMTYPE if content.startswith("->") else tarfile.LNKTYPE
        info.linkname = content.removeprefix("->").removeprefix("=")
        return info, None
    if name.endswith("/"):
        info.type = tarfile.DIRTYPE
        return info, None
    info.size = len(content)
    return info, io.BytesIO(content)


class LayoutWriter:
    """An OCI image layout folder that is written part by part."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, media_type, **more):
        digest = digest_of(data)
        (self.folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def document(self, document, media_type, **more):
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}).encode()
        return self.blob(data, media_type, **more)

    def image(self, architecture, layers, **more):
        """Write the image of a platform with these tar files; return its manifest's descriptor."""
        platform = {"architecture": architecture, "os": "linux"}
        config = {
            **platform,
            "config": {"Entrypoint": ["/bin/start"], "Env": ["A=b"], "User": "10001"},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in layers]},
        }
        packed = [self.blob(gzip.compress(tar, mtime=0), OCI_LAYER_GZIP) for tar in layers]
        manifest = {
            "config": self.blob(json.dumps(config).encode(), OCI_CONFIG),
            "layers": packed,
            **more,
        }
        return self.document(manifest, OCI_MANIFEST, platform=platform)

    def finish(self, *manifests):
        """Write the index of the manifests; return its digest."""
        index = self.document({"manifests": manifests}, OCI_INDEX)
        entries = {"schemaVersion": 2, "manifests": [index]}
        (self.folder / "index.json").write_text(json.dumps(entries))
        return index["digest"]


def small_image(folder, *, seed=0, sizes=(300_000, 150_000), own=b"one"):
    """Write an image of two platforms; return its digest.

    Its layers of random bytes depend on ``seed`` only; the last, small layer contains ``own``.
    """
    writer = LayoutWriter(folder)
    manifests = []
    for number, architecture in enumerate(("amd64", "arm64")):
        chance = random.Random(f"{seed} {number}")
        layers = [tar_of(("opt/", b""), (f"opt/{size}", chance.randbytes(size))) for size in sizes]
        layers.append(tar_of(("opt/own", own), ("bin/start", b"#!/bin/sh\n", 0o755)))
        manifests.append(writer.image(architecture, layers))
    return writer.finish(*manifests)


def total_size(folder):
    """Bytes of all blobs of a layout."""
    return sum(path.stat().st_size for path in (folder / "blobs/sha256").iterdir())
