"""Small inputs of an image, for which nothing is downloaded: a base image, wheels, a lock file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

LIBRARY = "usr/local/lib/python3.13"
LIBC = b"\x7fELF GNU C Library (Debian GLIBC 2.41-12) stable release version 2.41.\n"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
STATUS = (
    "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41-12\n\n"
    "Package: removed\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
)
FILES = {
    "etc/passwd": PASSWD,
    "etc/group": "root:x:0:\n",
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="13"\n',
    "usr/lib/x86_64-linux-gnu/libc.so.6": LIBC,
    "usr/local/bin/python3.13": b"\x7fELF",
    f"{LIBRARY}/os.py": "name = 'posix'\n",
    f"{LIBRARY}/json/__init__.py": "def loads(text):\n    return text\n",
    f"{LIBRARY}/test/test_os.py": "assert True\n",
    "var/lib/dpkg/status": STATUS,
}
FOLDERS = ("etc", "opt", "usr", "usr/local", "usr/local/bin", "usr/local/lib", LIBRARY)


def member(path, content=b"", *, mode=0o644, kind=tarfile.REGTYPE, link=""):
    """Return a header and the content of a file in a layer."""
    data = content.encode() if isinstance(content, str) else content
    header = tarfile.TarInfo(path)
    header.size, header.mode, header.type, header.linkname = len(data), mode, kind, link
    return header, data


def base_members():
    """Return the files of a base image with Python 3.13, glibc and one setuid program."""
    folders = [member(path, kind=tarfile.DIRTYPE, mode=0o755) for path in FOLDERS]
    files = [member(path, content) for path, content in FILES.items()]
    return [
        *folders,
        member("tmp", kind=tarfile.DIRTYPE, mode=0o1777),
        *files,
        member("usr/bin/su", b"\x7fELF su", mode=0o4755),
    ]


def write_layer(path, members):
    """Write a layer with gzip, and return its path."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for header, data in members:
            tar.addfile(header, io.BytesIO(data) if data else None)
    path.write_bytes(gzip.compress(buffer.getvalue(), 1, mtime=0))
    return path


def write_wheel(folder, name, version, files, *, tag="py3-none-any", licence="MIT"):
    """Write a wheel with these files, and return its path."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    listed = {
        **files,
        f"{info}/METADATA": f"{metadata}License-Expression: {licence}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    path = Path(folder, f"{name.replace('-', '_')}-{version}-{tag}.whl")
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for target, content in listed.items():
            data = content.encode() if isinstance(content, str) else content
            archive.writestr(zipfile.ZipInfo(target), data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{target},sha256={digest},{len(data)}\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join([*rows, f"{info}/RECORD,,\n"]))
    return path


@dataclass(frozen=True)
class Wheels:
    """Folder of wheels, and the lock file that names them."""

    folder: Path
    lock_file: Path

    @property
    def environ(self):
        """Environment variables with which pip finds the wheels and nothing else."""
        return {
            "PIP_FIND_LINKS": str(self.folder),
            "PIP_NO_INDEX": "1",
            "PIP_CONFIG_FILE": "/dev/null",
        }


def write_wheels(folder):
    """Write wheels for both architectures, one of which is larger than a layer should be."""
    folder.mkdir()
    paths = [
        write_wheel(
            *(folder, "pure", "1.0"),
            {
                "pure/__init__.py": "VALUE = 1\n",
                "pure/broken.py": "def (\n",
                "pure/tests/test_pure.py": "assert False\n",
                "pure/types.pyi": "VALUE: int\n",
            },
        )
    ]
    for machine in ("x86_64", "aarch64"):
        code = f"machine = {machine!r}\n"
        files = {"native/__init__.py": code, "native/library.so": b"\x7fELF" + machine.encode()}
        tag = f"cp313-cp313-manylinux_2_28_{machine}"
        paths.append(write_wheel(folder, "native", "2.0", files, tag=tag))
    hashes = {}
    for path in paths:
        name, version, _ = path.name.split("-", 2)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        hashes.setdefault(f"{name}=={version}", []).append(digest)
    lines = [
        f"{name} \\\n" + " \\\n".join(f"    --hash=sha256:{one}" for one in found)
        for name, found in hashes.items()
    ]
    lock_file = folder / "tiny.lock"
    lock_file.write_text("# made by a test\n" + "\n".join(lines) + "\n")
    return Wheels(folder, lock_file)
