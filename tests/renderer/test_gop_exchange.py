"""Claims of GOPs and their results, in one process and between processes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from cloudburst.renderer.encoder import EncodedPicture
from cloudburst.renderer.shared_encoding import GopExchange

PICTURES = [EncodedPicture(random.Random(n).randbytes(n * 999), n) for n in (0, 3, 1, 2, 4)]
HOLD_CLAIM = """
import sys, time
from pathlib import Path
from cloudburst.renderer.shared_encoding import GopExchange
with GopExchange(Path(sys.argv[1])).claimed(7) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_a_gop_is_claimed_by_one_process_at_a_time(tmp_path):
    one, other = GopExchange(tmp_path), GopExchange(tmp_path)
    with one.claimed(0) as first, other.claimed(0) as second, other.claimed(1) as another:
        assert (first, second, another) == (True, False, True)
    with other.claimed(0) as mine:
        assert mine


def test_an_error_in_the_block_releases_the_claim(tmp_path):
    exchange = GopExchange(tmp_path)

    def fail() -> None:
        with exchange.claimed(0):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with exchange.claimed(0) as mine:
        assert mine


@pytest.mark.parametrize("end", ["finish", "store"])
def test_a_finished_gop_is_not_claimed_again(end, tmp_path):
    exchange = GopExchange(tmp_path)
    with exchange.claimed(0):
        exchange.finish(0) if end == "finish" else exchange.store(0, PICTURES)
    for _ in range(2):
        with GopExchange(tmp_path).claimed(0) as mine:
            assert not mine
        assert exchange.take(0) in (None, PICTURES)
        assert exchange.take(0) is None


def test_stored_pictures_are_taken_as_they_were_and_their_space_is_freed(tmp_path):
    exchange = GopExchange(tmp_path)
    assert exchange.take(0) is None
    exchange.store(0, PICTURES)
    exchange.store(1, [])
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 9990
    assert GopExchange(tmp_path).take(0) == PICTURES
    assert exchange.take(1) == []
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 0


def test_other_processes_find_a_whole_result_or_nothing(tmp_path):
    writer, reader = GopExchange(tmp_path), GopExchange(tmp_path)
    large = [EncodedPicture(bytes([n]) * 300_000, n) for n in range(8)]
    thread = Thread(target=lambda: [writer.store(n, large) for n in range(20)])
    thread.start()
    for number in range(20):
        while (found := reader.take(number)) is None:
            pass
        assert found == large
    thread.join()


def test_the_rest_of_an_interrupted_result_is_replaced(tmp_path):
    (tmp_path / "0.part").write_bytes(bytes(10_000_000))
    exchange = GopExchange(tmp_path)
    assert exchange.take(0) is None
    exchange.store(0, PICTURES)
    assert exchange.take(0) == PICTURES


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGXCPU, signal.SIGSEGV, None])
def test_the_end_of_a_process_releases_its_claim(how, tmp_path):
    command = [sys.executable, "-c", HOLD_CLAIM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"True\n"
        with GopExchange(tmp_path).claimed(7) as mine:
            assert not mine
        if how:
            process.send_signal(how)
        else:
            process.stdin.close()
        process.wait()
        with GopExchange(tmp_path).claimed(7) as mine:
            assert mine


def test_children_of_a_process_do_not_keep_its_claim(tmp_path):
    with GopExchange(tmp_path).claimed(0):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    with GopExchange(tmp_path).claimed(0) as mine:
        assert mine
    child.communicate()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open(tmp_path):
    exchange = GopExchange(tmp_path)
    before = open_files()
    for number in range(20):
        with exchange.claimed(number), exchange.claimed(number):
            exchange.store(number, PICTURES)
        exchange.take(number)
        exchange.take(number + 1)
    assert open_files() == before
    assert {path.suffix for path in Path(tmp_path).iterdir()} == {".claim", ".gop"}
