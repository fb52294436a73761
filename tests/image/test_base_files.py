"""Reading of the layers of a base image."""

from __future__ import annotations

import gzip
import tarfile
from types import SimpleNamespace

import pytest

from cloudburst.errors import ImageError
from cloudburst.image import base_image
from cloudburst.image.layers import runtime_entries
from cloudburst.net.registry.unpack import zstd_module
from support.tiny_image import FILES, LIBRARY, base_members, member


def read_base(layers):
    """The files of a base image of these layers, lowest first."""
    return base_image.read_base(SimpleNamespace(pulled=SimpleNamespace(layer_paths=layers)))


def folder(path, mode=0o755):
    return member(path, kind=tarfile.DIRTYPE, mode=mode)


def test_what_the_builder_needs_of_a_base_image(layer):
    files = read_base([layer(*base_members())])
    assert files.python() == "usr/local/bin/python3.13"
    files.require_glibc()
    assert files.lines("etc/passwd") == FILES["etc/passwd"].splitlines()
    assert files.lines("etc/shadow") == []
    assert [one.path for one in files.standard_library()] == [
        *(f"{LIBRARY}/os.py", f"{LIBRARY}/json/__init__.py")
    ]


def test_the_python_that_is_first_on_the_path_is_used(layer):
    paths = ("opt/x/bin/python3.13", "usr/bin/python3.13", "usr/local/bin/python3.13")
    for number in (3, 2, 1):
        files = read_base([layer(*(member(path, b"x") for path in paths[:number]))])
        assert files.python() == paths[number - 1]


def test_modules_that_have_bytecode_are_not_compiled_again(layer):
    cached = f"{LIBRARY}/__pycache__/os.cpython-313.pyc"
    files = read_base([layer(*base_members(), member(cached, b"x"))])
    assert [one.path for one in files.standard_library()] == [f"{LIBRARY}/json/__init__.py"]


def test_later_layers_replace_and_delete(layer):
    first = layer(
        *(folder("a"), folder("a/b"), member("a/b/passwd"), folder("c"), member("c/d/file")),
        *(member("etc/passwd", "old"), member("etc/group", "old"), folder("e"), member("e/f")),
    )
    second = layer(
        *(member("a/.wh.b"), folder("c"), member("c/.wh..wh..opq"), member("c/new")),
        *(member("etc/passwd", "new"), member("etc/.wh.group"), member("e", b"a file now")),
    )
    files = read_base([first, second])
    assert set(files.entries) == {"a", "c", "c/new", "etc/passwd", "e"}
    assert (files.lines("etc/passwd"), files.lines("etc/group")) == (["new"], [])


def test_layers_may_have_any_compression(tmp_path, layer):
    packed = layer(*base_members())
    plain = gzip.decompress(packed.read_bytes())
    for name, data in (("plain", plain), ("zstd", zstd_module().compress(plain))):
        path = tmp_path / name
        path.write_bytes(data)
        assert read_base([path]) == read_base([packed])


@pytest.mark.parametrize("path", ["/etc/passwd", "./etc/passwd", "../../etc/passwd", "etc//passwd"])
def test_paths_are_those_in_the_image(layer, path):
    assert read_base([layer(member(path, "root:"))]).lines("etc/passwd") == ["root:"]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("usr/local/bin/python3.13", "no python3.13; .* python:3.13-slim"),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "no glibc, .* python:3.13-slim"),
    ],
)
def test_a_base_without_what_the_service_needs_is_rejected(layer, missing, message):
    files = read_base([layer(*(one for one in base_members() if one[0].name != missing))])
    with pytest.raises(ImageError, match=message):
        (files.require_glibc(), files.python())


def test_a_damaged_layer_is_an_error_of_ours(layer):
    path = layer(*base_members())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ImageError, match=r"the base image cannot be used: .* damaged"):
        read_base([path])


def test_a_second_name_of_a_setuid_program_is_found(layer):
    """Hard links have no content of their own; one to a file of an earlier layer has its bit."""
    first = layer(
        *base_members(),
        member("usr/bin/su2", kind=tarfile.LNKTYPE, link="usr/bin/su", mode=0o4755),
        member("usr/bin/lost", kind=tarfile.LNKTYPE, link="usr/bin/nothing"),
    )
    second = layer(member("opt/x", kind=tarfile.LNKTYPE, link="./usr/bin/su2"))
    found = read_base([first, second]).with_setuid()
    assert {one.path: one.data for one in found} == dict.fromkeys(
        ("opt/x", "usr/bin/su", "usr/bin/su2"), b"\x7fELF su"
    )


def test_the_setuid_files_of_the_base_are_replaced_with_their_other_modes(layer):
    files = read_base([layer(*base_members())])
    (found,) = (one for one in runtime_entries(files) if one.path == "usr/bin/su")
    assert (found.mode, found.data) == (0o755, b"\x7fELF su")


def test_devices_are_left_to_the_container_engine(layer):
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    devices = [member(f"etc/passwd{kind}", kind=kind, mode=0o4666) for kind in kinds]
    files = read_base([layer(*base_members(), *devices)])
    assert [path for path in files.entries if path.startswith("etc/passwd")] == ["etc/passwd"]
