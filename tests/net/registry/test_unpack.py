"""Layers become folders, and nothing else does."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile

import anyio
import anyio.lowlevel
import pytest

from cloudburst.net.registry.errors import InvalidImageError
from cloudburst.net.registry.unpack import unpack_layers, zstd_module
from support.oci_layouts import tar_of

pytestmark = pytest.mark.anyio


async def unpack(tmp_path, *tars):
    """Unpack tar files, or compressed ones, and return the folder."""
    paths = []
    for number, tar in enumerate(tars):
        paths.append(tmp_path / f"layer{number}")
        paths[-1].write_bytes(tar)
    await unpack_layers(paths, tmp_path / "root")
    return tmp_path / "root"


def tree(folder):
    """Return the files below a folder, with their content, or the target of a link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"->{path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[f"{name}/"] = None
    return found


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00data"
"""A frame that decompressors skip, as images that are pulled in parts have."""
FILES = tar_of(("a/",), ("a/one", b"1" * 3000), ("a/b/two", b"2"), ("link", "->a/one"), ("e", b""))
TREE = {
    "a/": None,
    "a/one": b"1" * 3000,
    "a/b/": None,
    "a/b/two": b"2",
    "link": "->a/one",
    "e": b"",
}


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(lambda: FILES, id="tar"),
        pytest.param(lambda: gzip.compress(FILES), id="gzip"),
        pytest.param(lambda: zstd_module().compress(FILES), id="zstd"),
        pytest.param(
            lambda: b"".join(
                gzip.compress(FILES[at : at + 700]) for at in range(0, len(FILES), 700)
            ),
            id="gzip in parts",
        ),
        pytest.param(
            lambda: zstd_module().compress(FILES[:1000]) + zstd_module().compress(FILES[1000:]),
            id="zstd in parts",
        ),
        pytest.param(lambda: zstd_module().compress(FILES) + SKIPPABLE, id="zstd with an index"),
    ],
)
async def test_each_compression_gives_the_same_files(packed, tmp_path):
    root = await unpack(tmp_path, packed())
    assert tree(root) == TREE
    assert (root / "a/one").stat().st_mtime == 1_000_000_000


async def test_modes_are_kept_without_setuid(tmp_path):
    tar = tar_of(
        ("tmp/", b"", 0o1777),
        ("locked/", b"", 0o555),
        ("locked/program", b"", 0o4755),
        ("secret", b"", 0o600),
        ("group", b"", 0o2660),
    )
    before = os.umask(0o077)
    try:
        root = await unpack(tmp_path, tar, tar_of(("locked/more", b"")))
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert found == {
        "root": 0o755,
        "tmp": 0o1777,
        "locked": 0o755,  # upper layers write into it
        "more": 0o644,
        "program": 0o755,
        "secret": 0o600,
        "group": 0o660,
    }


async def test_upper_layers_replace_and_delete(tmp_path):
    lower = tar_of(
        *(("keep", b"1"), ("gone", b"1"), ("folder/x", b"1"), ("folder/y/z", b"1")),
        *(("opaque/old", b"1"), ("opaque/sub/old", b"1"), ("kind", b"1"), ("kind2/x", b"1")),
        *(("hard", b"1"), ("same", "=/hard"), ("soft", "->keep")),
    )
    upper = tar_of(
        *((".wh.gone",), (".wh.missing",), ("folder/.wh.y",), ("opaque/",)),
        *(("opaque/sub/new", b"2"), ("opaque/.wh..wh..opq",), ("kind/",), ("kind/in", b"2")),
        *(("kind2", b"2"), ("keep", b"2"), ("hard", b"2"), ("soft", b"2")),
    )
    assert tree(await unpack(tmp_path, lower, upper)) == {
        "keep": b"2",
        "folder/": None,
        "folder/x": b"1",
        "opaque/": None,
        "opaque/sub/": None,
        "opaque/sub/new": b"2",
        "kind/": None,
        "kind/in": b"2",
        "kind2": b"2",
        "hard": b"2",
        "same": b"1",
        "soft": b"2",
    }


async def test_whiteouts_do_not_delete_files_of_their_own_layer(tmp_path):
    lower = tar_of(("a/old", b"1"))
    upper = tar_of(("a/new", b"2"), (".wh.a",))
    assert tree(await unpack(tmp_path, lower, upper)) == {"a/": None, "a/new": b"2"}


async def test_absolute_links_lead_to_places_inside_the_root(tmp_path):
    """As in Debian, whose /lib is a link to usr/lib, and /var/run one to /run."""
    lower = tar_of(
        *(("usr/lib/a", b"1"), ("lib", "->usr/lib"), ("run/",), ("var/run", "->/run")),
        *(("lib/in", "->/usr/lib/a"), ("x/all", "->/")),
    )
    upper = tar_of(
        *(("lib/b", b"2"), ("var/run/c", b"2"), ("x/all/d", b"2"), ("hard", "=/lib/a")),
        ("var/run/.wh.e",),
    )
    root = await unpack(tmp_path, lower, upper)
    assert tree(root / "usr") == {"lib/": None, "lib/a": b"1", "lib/b": b"2", "lib/in": "->a"}
    assert (root / "run/c").read_bytes() == (root / "d").read_bytes() == b"2"
    assert (root / "hard").samefile(root / "usr/lib/a")
    assert str((root / "var/run").readlink()) == "../run"


async def test_a_folder_replaces_a_link(tmp_path):
    """As the runtime of Fargate does: an image that does so by mistake fails here, too."""
    lower = tar_of(("usr/lib/a", b"1"), ("lib", "->usr/lib"))
    assert tree(await unpack(tmp_path, lower, tar_of(("lib/",))))["lib/"] is None


async def test_devices_and_pipes_are_left_out(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (
            ("null", tarfile.CHRTYPE),
            ("sda", tarfile.BLKTYPE),
            ("p", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("file"))
    assert tree(await unpack(tmp_path, file.getvalue())) == {"file": b""}


async def test_an_entry_with_a_path_to_outside_is_inside(tmp_path):
    root = await unpack(tmp_path, tar_of(("../../a", b"1"), ("/b/../../c", b"1")))
    assert tree(root) == {"a": b"1", "c": b"1"}


@pytest.mark.parametrize("name", ["out/file", "out/.wh.file"])
async def test_an_entry_behind_a_link_that_leaves_the_root_is_an_error(name, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"old")
    with pytest.raises(InvalidImageError, match="leaves the image: out"):
        await unpack(tmp_path, tar_of(("out", "->../outside")), tar_of((name, b"new")))
    assert tree(outside) == {"file": b"old"}


@pytest.mark.parametrize(
    "data", [b"", b"x" * 2000, FILES[:2500], gzip.compress(FILES)[:-20]], ids=len
)
async def test_a_damaged_layer_is_an_error(data, tmp_path):
    with pytest.raises(InvalidImageError, match=r"layer0: the layer is damaged"):
        await unpack(tmp_path, data)


async def test_a_cancelled_unpacking_stops(tmp_path):
    layer, root = tmp_path / "layer", tmp_path / "root"
    layer.write_bytes(tar_of(*((f"{number}", b"") for number in range(5000))))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(unpack_layers, [layer], root)
        with anyio.fail_after(30):
            while not (root / "0").exists():
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not (root / "4999").exists()
