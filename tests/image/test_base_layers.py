"""Reading of the layers of a base image, which may be damaged or hostile."""

from __future__ import annotations

import gzip
import tarfile
import time
from types import SimpleNamespace

import pytest

from cloudburst.errors import ImageError
from cloudburst.image.base_image import base_facts
from cloudburst.image.base_layers import read_base_layers
from cloudburst.image.compression import zstd
from cloudburst.image.debian import SystemPackage, distribution, system_packages
from cloudburst.image.layer_contents import runtime_entries
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
        *(member("a/.wh.b"), folder("c"), member("c/.wh..wh..opq"), member("c/new")),
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


def test_a_second_name_of_a_setuid_program_is_found(layer):
    """Hard links have no content of their own; one to a file of an earlier layer has its bit."""
    first = layer(
        *base_members(),
        member("usr/bin/su2", kind=tarfile.LNKTYPE, link="usr/bin/su", mode=0o4755),
        member("usr/bin/lost", kind=tarfile.LNKTYPE, link="usr/bin/nothing"),
    )
    second = layer(member("opt/x", kind=tarfile.LNKTYPE, link="./usr/bin/su2"))
    found = read_base_layers([first, second]).with_setuid()
    assert {path: file.content for path, file in found.items()} == dict.fromkeys(
        ("opt/x", "usr/bin/su", "usr/bin/su2"), b"\x7fELF su"
    )


def test_our_files_are_not_replaced_by_setuid_files_of_the_base(layer):
    paths = ("opt/cloudburst/bin/python", "opt/cloudburst/pyvenv.cfg")
    files = read_base_layers(
        [layer(*base_members(), *(member(path, b"x", mode=0o4755) for path in paths))]
    )
    base = SimpleNamespace(facts=base_facts(files))
    entries = [entry for entry in runtime_entries(base, files) if entry.path in paths]
    assert [(one.link, one.read()[:4]) for one in entries] == [
        *(("", b"home"), ("/usr/local/bin/python3.13", b""))
    ]


def test_devices_are_left_to_the_container_engine(layer):
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    devices = [member(f"etc/passwd{kind}", kind=kind, mode=0o4666) for kind in kinds]
    files = read_base_layers([layer(*base_members(), *devices)])
    assert [path for path in files.files if path.startswith("etc/passwd")] == ["etc/passwd"]


@pytest.mark.parametrize("path", ["a\nhome = x/bin/python3.13", "b b/bin/python3.13"])
def test_a_python_in_a_folder_with_other_characters_is_not_used(layer, path):
    """Its path is written into a file of settings."""
    rest = [one for one in base_members() if "bin/python" not in one[0].name]
    with pytest.raises(ImageError, match=r"no python3\.13"):
        base_facts(read_base_layers([layer(*rest, member(path, b"x"))]))


def test_a_damaged_layer_is_an_error_of_ours(layer):
    path = layer(*base_members())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ImageError, match=r"the base image cannot be used: .* damaged"):
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
