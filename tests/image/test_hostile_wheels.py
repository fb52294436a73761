"""Wheels that are damaged or hostile: each is one clear error, in bounded time and memory."""

from __future__ import annotations

import csv
import io
import stat
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.errors import ImageError
from cloudburst.image import wheel_archive
from cloudburst.image.wheel_contents import read_wheel, read_wheels
from support.tiny_image import write_wheel

INFO = "one-1.dist-info"


def read_all(wheel):
    return {entry.path: entry.read() for entry in read_wheel(wheel, "site").entries}


def changed(wheel, change):
    """Write a wheel again after a change of its members, a list of header and content."""
    with zipfile.ZipFile(wheel) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    change(members)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in members:
            archive.writestr(info, data)
    return wheel


def deflated(members):
    for info, _ in members:
        info.compress_type = zipfile.ZIP_DEFLATED


@pytest.fixture
def wheel(tmp_path):
    files = {"one/a.py": "value = 1\n" * 50, "one/b.py": "value = 2\n"}
    return write_wheel(tmp_path, "one", "1", files)


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", "a/../../b", "a\\..\\b", "."])
def test_a_path_outside_of_the_folder_is_rejected(tmp_path, path):
    wheel = write_wheel(tmp_path, "bad", "1", {path: "x"})
    with pytest.raises(ImageError, match="outside its folder"):
        read_wheel(wheel, "site")


def with_kind(kind):
    def change(members):
        members[0][0].external_attr = (kind | 0o777) << 16

    return change


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK]
)
def test_links_devices_and_pipes_are_rejected(wheel, kind):
    with pytest.raises(ImageError, match=r"one/a.py is a link, a device or a pipe"):
        read_wheel(changed(wheel, with_kind(kind)), "site")


def test_setuid_bits_do_not_count(wheel):
    changed(wheel, with_kind(stat.S_IFREG | stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX))
    modes = {entry.path: entry.mode for entry in read_wheel(wheel, "site").entries}
    assert (modes["site/one/a.py"], modes["site/one/b.py"]) == (0o755, 0o644)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["one/a.py", "one//a.py", "one/./a.py"])
def test_a_file_that_is_there_twice_is_rejected(wheel, name):
    changed(wheel, lambda members: members.append((zipfile.ZipInfo(name), b"other")))
    with pytest.raises(ImageError, match=r"a.py is in the wheel twice"):
        read_wheel(wheel, "site")


def test_a_file_below_a_file_is_rejected(tmp_path):
    wheel = write_wheel(tmp_path, "one", "1", {"one": "", "one/a.py": ""})
    with pytest.raises(ImageError, match="one is a file and a folder"):
        read_wheel(wheel, "site")


def test_two_files_for_one_path_are_rejected(tmp_path):
    first = write_wheel(tmp_path, "one", "1", {"x/a.py": "1"})
    data = {"x/a.py": "1", "two-1.data/purelib/x/a.py": "2"}
    with pytest.raises(ImageError, match=r"has two files for x/a\.py"):
        read_wheel(write_wheel(tmp_path, "two", "1", data), "site")
    second = write_wheel(tmp_path, "two", "1", {"x/a.py": "2"})
    with pytest.raises(ImageError, match=r"one and two both have site/x/a\.py"):
        read_wheels([first, second], "site")


def test_a_name_that_is_not_utf_8_is_rejected(wheel):
    name = "one/é.py"
    changed(wheel, lambda members: members.append((zipfile.ZipInfo(name), b"")))
    wheel.write_bytes(wheel.read_bytes().replace(name.encode(), b"one/\xff\xfe.py"))
    with pytest.raises(ImageError, match="is damaged: 'utf-8' codec"):
        read_wheel(wheel, "site")


@pytest.mark.parametrize("name", ["one/a\nb.py", "one/\x1b[31m.py", "x" * 1001])
def test_names_are_short_and_printable(tmp_path, name):
    wheel = write_wheel(tmp_path, "one", "1", {name: ""})
    with pytest.raises(ImageError, match="too long or not printable") as caught:
        read_wheel(wheel, "site")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_encrypted_files_and_other_compressions_are_rejected(wheel):
    def compress(members):
        members[0][0].compress_type = zipfile.ZIP_LZMA

    with pytest.raises(ImageError, match="compressed with another method"):
        read_wheel(changed(wheel, compress), "site")


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_FILE_BYTES", "MAX_UNPACKED_BYTES"])
def test_the_size_of_a_wheel_is_limited(wheel, monkeypatch, limit):
    monkeypatch.setattr(wheel_archive, limit, 3)
    with pytest.raises(ImageError, match="too large: "):
        read_wheel(wheel, "site")


@pytest.mark.parametrize("limit", ["MAX_DIRECTORY_BYTES", "MAX_TEXT_BYTES"])
def test_the_lists_of_files_are_limited(wheel, monkeypatch, limit):
    monkeypatch.setattr(wheel_archive, limit, 30)
    with pytest.raises(ImageError, match="too large"):
        read_wheel(wheel, "site")


def test_a_bomb_takes_no_more_memory_than_the_size_that_it_states(tmp_path):
    """The file states one byte, and unpacks to a thousand times the size of the wheel."""
    size = 20_000_000
    wheel = write_wheel(tmp_path, "one", "1", {"one/a.py": bytes(size)})
    stated = size.to_bytes(4, "little")
    data = changed(wheel, deflated).read_bytes()
    assert data.count(stated) == 2
    wheel.write_bytes(data.replace(stated, (1).to_bytes(4, "little")))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"one/a.py: size or checksum are wrong"):
            read_all(wheel)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def with_record(change):
    def changed_members(members):
        place = next(n for n, (info, _) in enumerate(members) if info.filename.endswith("RECORD"))
        rows = list(csv.reader(io.StringIO(members[place][1].decode())))
        change(rows)
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        members[place] = members[place][0], text.getvalue().encode()

    return changed_members


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(0), "one/a.py is not listed in RECORD"),
        (lambda rows: rows.append(["one/c.py", "sha256=x", "1"]), "one/c.py is in RECORD, but not"),
        (lambda rows: rows.append(["../../etc/passwd", "sha256=x", "1"]), "passwd is in RECORD"),
        (lambda rows: rows[0].__setitem__(1, rows[1][1]), "one/a.py has another hash than in"),
        (lambda rows: rows[0].__setitem__(1, "sha256=%%%"), "one/a.py has another hash than in"),
        (lambda rows: rows[0].__setitem__(1, "md5=aaaa"), "one/a.py has no secure hash"),
        (lambda rows: rows[0].__setitem__(1, ""), "one/a.py has no secure hash"),
        (lambda rows: rows[0].__delitem__(slice(1, 3)), r"is damaged: one-1.dist-info/RECORD:"),
    ],
)
def test_record_lists_the_files_of_the_wheel(wheel, change, message):
    with pytest.raises(ImageError, match=message):
        read_all(changed(wheel, with_record(change)))


@pytest.mark.parametrize("name", ["METADATA", "RECORD"])
def test_a_wheel_has_its_metadata_once(wheel, name):
    def remove(members):
        members[:] = [one for one in members if not one[0].filename.endswith(name)]

    with pytest.raises(ImageError, match=rf"has 0 files {name}|/{name} is in RECORD"):
        read_wheel(changed(wheel, remove), "site")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    files = {"one/a.py": "value = 1\n" * 50}
    wheel = write_wheel(tmp_path_factory.mktemp("wheel"), "one", "1", files)
    return changed(wheel, deflated).read_bytes()


@given(st.data())
def test_a_damaged_wheel_is_an_error_of_ours(whole, tmp_path_factory, data):
    content = bytearray(whole)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    wheel = Path(tmp_path_factory.getbasetemp(), "one-1-py3-none-any.whl")
    wheel.write_bytes(content)
    with suppress(ImageError):
        assert read_all(wheel)["site/one/a.py"] == b"value = 1\n" * 50
