"""Layers become folders, and nothing else does."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import tarfile
import tempfile
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.registry import (
    DigestError,
    InvalidImageError,
    RegistryError,
    UnpackLimits,
    unpack_layers,
)
from cloudburst.registry.layer_reader import LayerReader
from support.oci_layouts import digest_of, tar_of

pytestmark = pytest.mark.anyio


def zstd(data):
    module = pytest.importorskip("backports.zstd")
    return module.compress(data)


async def unpack(tmp_path, *tars, **options):
    """Unpack tar files, or compressed ones, and return the folder."""
    paths = []
    for number, tar in enumerate(tars):
        paths.append(tmp_path / f"layer{number}")
        paths[-1].write_bytes(tar)
    await unpack_layers(paths, tmp_path / "root", **options)
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
        pytest.param(lambda: zstd(FILES), id="zstd"),
        pytest.param(
            lambda: b"".join(
                gzip.compress(FILES[at : at + 700]) for at in range(0, len(FILES), 700)
            ),
            id="gzip in parts",
        ),
        pytest.param(lambda: zstd(FILES[:1000]) + zstd(FILES[1000:]), id="zstd in parts"),
        pytest.param(lambda: zstd(FILES) + SKIPPABLE, id="zstd with an index"),
    ],
)
async def test_each_compression_gives_the_same_files(packed, tmp_path):
    root = await unpack(tmp_path, packed(), diff_ids=[digest_of(FILES)])
    assert tree(root) == TREE
    assert (root / "a/one").stat().st_mtime == 1_000_000_000
    assert (root / "a").stat().st_mtime == 1_000_000_000
    assert {path.name for path in tmp_path.iterdir()} == {"root", "layer0"}


async def test_modes_are_kept_without_setuid(tmp_path):
    tar = tar_of(
        ("tmp/", b"", 0o1777),
        ("locked/", b"", 0o555),
        ("locked/program", b"", 0o4755),
        ("secret", b"", 0o600),
        ("group", b"", 0o2640),
    )
    root = await unpack(tmp_path, tar)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert found == {
        "tmp": 0o1777,
        "locked": 0o555,
        "program": 0o755,
        "secret": 0o600,
        "group": 0o640,
    }


async def test_folders_that_no_entry_describes_can_be_entered(tmp_path):
    """By the user of the service, whatever this process hides from other users."""
    before = os.umask(0o077)
    try:
        root = await unpack(tmp_path, tar_of(("a/b/c", b"", 0o644)))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (root, *sorted(root.rglob("*")))]
    assert modes == [0o755, 0o755, 0o755, 0o644]


async def test_upper_layers_replace_and_delete(tmp_path):
    lower = tar_of(
        *(("keep", b"1"), ("gone", b"1"), ("folder/x", b"1"), ("folder/y/z", b"1")),
        *(("opaque/old", b"1"), ("opaque/sub/old", b"1"), ("kind", b"1"), ("kind2/x", b"1")),
    )
    upper = tar_of(
        *((".wh.gone",), (".wh.missing",), ("folder/.wh.y",), ("opaque/sub/new", b"2")),
        *(("opaque/.wh..wh..opq",), ("kind/",), ("kind/in", b"2"), ("kind2", b"2")),
        *(("keep", b"2"),),
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
    }


async def test_whiteouts_do_not_delete_files_of_their_own_layer(tmp_path):
    lower = tar_of(("a/old", b"1"))
    upper = tar_of(("a/new", b"2"), (".wh.a",))
    assert tree(await unpack(tmp_path, lower, upper)) == {"a/": None, "a/new": b"2"}


async def test_links_to_folders_are_followed_inside_the_root(tmp_path):
    """As in Debian, whose /lib is a link to usr/lib; and a link to / is one to the root."""
    lower = tar_of(
        ("usr/lib/a", b"1"), ("lib", "->usr/lib"), ("x/all", "->/"), ("up", "->../../usr")
    )
    upper = tar_of(("lib/b", b"2"), ("x/all/c", b"2"), ("up/d", b"2"), ("hard", "=lib/a"))
    root = await unpack(tmp_path, lower, upper)
    assert tree(root / "usr") == {"lib/": None, "lib/a": b"1", "lib/b": b"2", "d": b"2"}
    assert (root / "c").read_bytes() == b"2"
    assert (root / "hard").samefile(root / "usr/lib/a")


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


def with_long_header(size):
    """A tar file with an extended header of this size."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf() + b"1" * size + bytes(-size % 512) + FILES


def sparse_header(*, count=0):
    """Header of a sparse file in GNU's old format, with this number of headers that continue it."""
    info = tarfile.TarInfo("sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    more = (b"1".zfill(11) + b"\0") * 42 + b"\1" + bytes(7)
    return bytes(header) + more * count


def with_sparse_map(size):
    """A tar file with a sparse file in the format 1.0 whose map has this size in bytes."""
    names = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"}
    info = tarfile.TarInfo("sparse")
    info.size, info.pax_headers = size, {**names, "GNU.sparse.realsize": "9"}
    return info.tobuf(tarfile.PAX_FORMAT) + b"999999999\n" + b"0\n" * (size // 2) + FILES


def with_global_headers(number):
    """A tar file with global headers that have different names."""
    headers = [
        tarfile.TarInfo.create_pax_global_header({f"name{one}": "1"}) + FILES[:512]
        for one in range(number)
    ]
    return b"".join(headers) + FILES


HOSTILE = {
    "cut sparse header": sparse_header(),
    "endless sparse header": sparse_header(count=1000) + FILES,
    "endless sparse map": with_sparse_map(1_000_000),
    "global headers": with_global_headers(1000),
    "outside": tar_of(("../outside", b"")),
    "outside by a folder": tar_of(("a/../../outside", b"")),
    "hard link to outside": tar_of(("a", "=../layer0")),
    "hard link to a missing file": tar_of(("a", "=b")),
    "hard link to a folder": tar_of(("b/",), ("a", "=b")),
    "hard link in place of its folder": tar_of(("a/b", b""), ("a", "=a/b")),
    "links in a circle": tar_of(("a", "->b"), ("b", "->a"), ("a/x", b"")),
    "file as a folder": tar_of(("a", b""), ("a/b", b"")),
    "file in place of the root": tar_of((".", b"")),
    "whiteout of the root": tar_of((".wh.",)),
    "whiteout of a parent": tar_of((".wh...",)),
    "long name": tar_of(("n" * 5000, b"")),
    "no tar": b"x" * 2000,
    "empty": b"",
    "cut header": FILES[:700],
    "cut content": FILES[:2500],
    "damaged header": FILES[:5632] + b"\xff" * 512 + FILES[6144:],
    "cut gzip": gzip.compress(FILES)[:-20],
    "damaged gzip": gzip.compress(FILES)[:100] + b"x" * 100,
    "damaged zstd": b"\x28\xb5\x2f\xfd" + b"x" * 100,
    "long header": with_long_header(40_000),
    "headers of headers": b"".join(with_long_header(0)[:512] for _ in range(3000)) + FILES,
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_invalid_layers_are_errors_and_leave_nothing(kind, tmp_path):
    if "zstd" in kind:
        pytest.importorskip("backports.zstd")
    with pytest.raises(InvalidImageError) as caught:
        await unpack(tmp_path, HOSTILE[kind])
    assert len(str(caught.value)) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["layer0"]


@pytest.mark.parametrize("kind", ["endless sparse header", "endless sparse map"])
async def test_maps_of_sparse_files_are_not_read_completely(kind, tmp_path):
    with pytest.raises(InvalidImageError, match="header that is too long"):
        await unpack(tmp_path, HOSTILE[kind])


async def test_names_in_errors_are_printable(tmp_path):
    with pytest.raises(RegistryError) as caught:
        await unpack(tmp_path, tar_of(("\x1b[31m" + "n" * 300, b"")))
    assert str(caught.value).isprintable()


REPETITIONS = 1500
LINEAR_SECONDS = 4
"""Processor time: the work takes less than one second, and quadratic work more than six."""


async def test_many_replaced_folders_take_linear_time(tmp_path):
    """Cleaning up after one folder does not look at all the others."""
    names = [f"folder{number}" for number in range(REPETITIONS)]
    layer = tar_of(*((f"{name}/",) for name in names), *((name, b"") for name in names))
    began_at = time.process_time()
    root = await unpack(tmp_path, layer)
    assert time.process_time() - began_at < LINEAR_SECONDS
    assert len(list(root.iterdir())) == REPETITIONS


async def test_repeated_whiteouts_of_a_folder_take_linear_time(tmp_path):
    files = [(f"a/file{number}", b"") for number in range(REPETITIONS)]
    layer = tar_of(*files, *[("a/.wh..wh..opq", b"")] * REPETITIONS)
    began_at = time.process_time()
    root = await unpack(tmp_path, layer)
    assert time.process_time() - began_at < LINEAR_SECONDS
    assert len(list((root / "a").iterdir())) == REPETITIONS


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (UnpackLimits(max_bytes=2_000_000), "too large"),
        (UnpackLimits(max_entries=1), "too many files"),
    ],
)
async def test_limits_hold_for_all_layers_together(limits, reason, tmp_path):
    bomb = gzip.compress(tar_of(("zeros", bytes(1_500_000))))
    await unpack_layers([], tmp_path / "empty", limits=limits)
    with pytest.raises(InvalidImageError, match=reason):
        await unpack(tmp_path, bomb, bomb, limits=limits)
    assert not (tmp_path / "root").exists()


async def test_digests_of_layers_are_checked(tmp_path):
    with pytest.raises(DigestError, match="instead of sha256:00"):
        await unpack(tmp_path, FILES, diff_ids=["sha256:" + "0" * 64])
    with pytest.raises(InvalidImageError, match="digest for each layer"):
        await unpack(tmp_path, FILES, diff_ids=[digest_of(FILES)] * 2)
    assert [path.name for path in tmp_path.iterdir()] == ["layer0"]


EMPTY_STREAM = gzip.compress(b"", mtime=0)


@pytest.mark.parametrize(
    "layer",
    [EMPTY_STREAM * 50_000, EMPTY_STREAM[:10] + b"\0\0\0\xff\xff" * 500_000, bytes(2**20)],
    ids=["empty streams", "empty blocks", "no compression"],
)
def test_reading_stops_in_a_layer_without_content(layer):
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        LayerReader(io.BytesIO(layer), 2**30, stop).finish()


async def test_a_cancelled_unpacking_stops_and_leaves_nothing(tmp_path):
    layer = tmp_path / "layer"
    with gzip.open(layer, "wb", compresslevel=1) as file:
        info = tarfile.TarInfo("zeros")
        info.size = 400 * 2**20  # unpacked in more than half a second
        file.write(info.tobuf())
        for _ in range(info.size // 2**20):
            file.write(bytes(2**20))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(unpack_layers, [layer], tmp_path / "root")
        with anyio.fail_after(30):
            while not list(tmp_path.glob("*.part/zeros")):
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]


async def test_folders_nested_deeper_than_python_recurses_are_removed(tmp_path):
    """The target of a link has more parts than the name of an entry may have."""
    layer = tar_of(("link", f"->{'d/' * 1100}"), ("link/file", b"x"), ("../x", b""))
    with pytest.raises(InvalidImageError, match="invalid path"):
        await unpack(tmp_path, layer)
    assert [path.name for path in tmp_path.iterdir()] == ["layer0"]


NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/c", "b/a", "a/b/c", "..", "../x", "/a", "./b", ".", "a/..", ".wh.a",
     "a/.wh.b", ".wh..wh..opq", "a/.wh..wh..opq", ".wh.."]
)  # fmt: skip
TARGETS = st.sampled_from(
    ["a", "b", "..", "../outside", "/", "/a", "../../..", "a/b", ".", "{out}"]
)
ENTRIES = st.one_of(
    st.tuples(NAMES, st.just(b"new")),
    st.tuples(NAMES.map(lambda name: f"{name}/")),
    st.tuples(NAMES, TARGETS.map(lambda target: f"->{target}")),
    st.tuples(NAMES, TARGETS.map(lambda target: f"={target}")),
)
EXAMPLES = 25 * int(os.environ.get("CLOUDBURST_SEEDS", "3"))


@settings(max_examples=EXAMPLES)
@given(layers=st.lists(st.lists(ENTRIES, max_size=8), min_size=1, max_size=3))
def test_no_layers_write_outside_the_folder(layers):
    with tempfile.TemporaryDirectory() as temporary:
        outside = Path(temporary, "outside")
        outside.mkdir(mode=0o750)
        (outside / "a").write_bytes(b"old")
        before = outside.stat()
        paths = []
        for number, entries in enumerate(layers):
            named = [
                (
                    name,
                    *(
                        part.replace("{out}", str(outside)) if isinstance(part, str) else part
                        for part in rest
                    ),
                )
                for name, *rest in entries
            ]
            paths.append(Path(temporary, f"layer{number}"))
            paths[-1].write_bytes(tar_of(*named))
        folder = Path(temporary, "root")
        try:
            anyio.run(unpack_layers, paths, folder)
            assert folder.is_dir()
        except InvalidImageError:
            assert not folder.exists()
        assert (outside / "a").read_bytes() == b"old"
        assert (outside / "a").stat().st_nlink == 1
        assert [path.name for path in outside.iterdir()] == ["a"]
        after = outside.stat()
        assert (after.st_mode, after.st_mtime) == (before.st_mode, before.st_mtime)
        assert {path.name for path in Path(temporary).iterdir()} - {"root", "outside"} == {
            path.name for path in paths
        }


async def test_a_layer_with_flipped_bytes_is_refused_or_unpacked(tmp_path):
    """Nothing but an error of ours is raised, whatever is damaged."""
    chance = random.Random(7)
    packed = gzip.compress(FILES)
    for number in range(EXAMPLES):
        for data in (packed, FILES):
            damaged = bytearray(data)
            damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            folder = tmp_path / f"{number}-{len(data)}"
            folder.mkdir()
            try:
                await unpack(folder, bytes(damaged))
            except InvalidImageError:
                assert [path.name for path in folder.iterdir()] == ["layer0"]
