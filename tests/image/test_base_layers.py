"""Reading of the layers of a base image, which may be damaged or hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.errors import ImageError
from cloudburst.image import base_layers
from cloudburst.image.base_image import base_facts
from cloudburst.image.base_layers import read_base_layers
from cloudburst.image.compression import zstd
from cloudburst.image.debian import SystemPackage, distribution, system_packages
from support.tiny_image import FILES, LIBRARY, base_members, member

MUSL = "lib/libc.musl-x86_64.so.1"


def folder(path, mode=0o755):
    return member(path, kind=tarfile.DIRTYPE, mode=mode)


def test_the_facts_of_a_base_image(layer):
    facts = base_facts(read_base_layers([layer(*base_members())]))
    assert facts.python == "usr/local/bin/python3.13"
    assert facts.glibc == (2, 41)
    assert facts.passwd == FILES["etc/passwd"]
    assert facts.has_tmp
    assert facts.packages == (SystemPackage("libc6", "2.41-12", "amd64"),)
    assert distribution(facts.os_release) == "debian-13"
    assert "usr/local/lib" in facts.folders


def test_the_python_that_is_first_on_the_path_is_used(layer):
    paths = ("opt/x/bin/python3.13", "usr/bin/python3.13", "usr/local/bin/python3.13")
    for number in (3, 2, 1):
        files = read_base_layers([layer(*(member(path, b"x") for path in paths[:number]))])
        assert files.python() == paths[number - 1]


def test_modules_that_have_bytecode_are_not_compiled_again(layer):
    cached = f"{LIBRARY}/__pycache__/os.cpython-313.pyc"
    files = read_base_layers([layer(*base_members(), member(cached, b"x"))])
    assert sorted(files.standard_library("usr/local/bin/python3.13")) == [
        f"{LIBRARY}/json/__init__.py"
    ]


def test_later_layers_replace_and_delete(layer):
    first = layer(
        *(folder("a"), folder("a/b"), member("a/b/passwd"), folder("c"), member("c/d/file")),
        *(member("etc/passwd", "old"), member("etc/group", "old"), folder("e"), member("e/f")),
    )
    second = layer(
        *(member("a/.wh.b"), member("c/.wh..wh..opq"), member("c/new")),
        *(member("etc/passwd", "new"), member("etc/.wh.group"), member("e", b"a file now")),
    )
    files = read_base_layers([first, second])
    assert set(files.files) == {"a", "c", "c/new", "etc/passwd", "e"}
    assert (files.text("etc/passwd"), files.text("etc/group")) == ("new", "")


def test_layers_may_have_any_compression(tmp_path, layer):
    packed = layer(*base_members())
    plain = gzip.decompress(packed.read_bytes())
    for name, data in (("plain", plain), ("zstd", zstd.compress(plain))):
        path = tmp_path / name
        path.write_bytes(data)
        assert read_base_layers([path]).files == read_base_layers([packed]).files


@pytest.mark.parametrize("path", ["/etc/passwd", "./etc/passwd", "../../etc/passwd", "etc//passwd"])
def test_paths_are_those_in_the_image(layer, path):
    assert read_base_layers([layer(member(path, "root:"))]).text("etc/passwd") == "root:"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("etc/passwd", "no /etc/passwd"),
        ("usr/local/bin/python3.13", "no python3.13; .* python:3.13-slim"),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "no glibc, .* python:3.13-slim"),
    ],
)
def test_a_base_without_what_the_service_needs_is_rejected(layer, missing, message):
    rest = [one for one in base_members() if one[0].name != missing]
    with pytest.raises(ImageError, match=message):
        base_facts(read_base_layers([layer(*rest, member(MUSL, b"x"))]))


def test_many_whiteouts_take_little_time(layer):
    lower = layer(*base_members(), *(member(f"opt/{n}", b"") for n in range(20_000)))
    upper = layer(*(member(f"opt/.wh.{n}", b"") for n in range(19_999)))
    began = time.process_time()
    files = read_base_layers([lower, upper]).files
    assert [path for path in files if path.startswith("opt/")] == ["opt/19999"]
    assert time.process_time() - began < 10  # 2 on a busy machine


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_ENTRIES", 3, "more than 3 files"),
        ("MAX_UNPACKED_BYTES", 1024, "too large"),
        ("MAX_KEPT_FILE_BYTES", 10, "is too large"),
        ("MAX_KEPT_BYTES", 40, "is too large"),
    ],
)
def test_sizes_and_numbers_are_limited(layer, monkeypatch, limit, value, message):
    monkeypatch.setattr(base_layers, limit, value)
    with pytest.raises(ImageError, match=message):
        read_base_layers([layer(*base_members())])


def test_a_small_layer_that_unpacks_to_much_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(base_layers, "MAX_UNPACKED_BYTES", 10_000_000)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        header = tarfile.TarInfo("zeros")
        header.size = 50_000_000
        tar.addfile(header, io.BytesIO(bytes(header.size)))
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(buffer.getvalue(), 1))
    with pytest.raises(ImageError, match="too large"):
        read_base_layers([path])


@pytest.fixture(scope="module")
def whole_layer(tmp_path_factory):
    from support.tiny_image import write_layer

    return write_layer(tmp_path_factory.mktemp("layer") / "layer.gz", base_members())


@given(st.data())
def test_a_damaged_layer_is_an_error_of_ours(whole_layer, data):
    content = bytearray(whole_layer.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path = whole_layer.with_name("damaged")
    path.write_bytes(content)
    with suppress(ImageError):
        read_base_layers([path])


def test_a_package_list_of_another_kind_is_read(layer):
    """Images without dpkg have a file for each package, and no status line in it."""
    text = "Package: base-files\nVersion: 13.1\nArchitecture: all\n"
    bad = "Package: ../x\nVersion: 1\n\nPackage: no-version\n"
    files = read_base_layers(
        [
            layer(
                member("var/lib/dpkg/status.d/base-files", text),
                member("var/lib/dpkg/status.d/bad", bad),
            )
        ]
    )
    assert system_packages(files) == (SystemPackage("base-files", "13.1", "all"),)
