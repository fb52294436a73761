"""Failed downloads by pip and uv, with their output as of pip 26 and uv 0.9."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest

from cloudburst.errors import ImageError
from cloudburst.image import wheel_download
from cloudburst.image.cache import ImageCache
from cloudburst.image.locked_packages import read_lock
from cloudburst.image.pip_errors import explain_failure

NONE = (
    "ERROR: Could not find a version that satisfies the requirement av==1 (from versions: none)\n"
    "ERROR: No matching distribution found for av==1\n"
)
RETRYING = (
    "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after "
    "connection broken by 'NewConnectionError('<HTTPSConnection>: Failed to establish a new "
    "connection: [Errno -2] Name or service not known')': /simple/av/\n"
)
OTHER_HASH = (
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated "
    "the package versions, please update the hashes.\n"
    "    idna==3.10 from https://example.com/idna-3.10-py3-none-any.whl (from -r lock):\n"
    "        Expected sha256 0000\n             Got        946d\n"
)
UV = (
    "error: Failed to fetch: `https://pypi.org/simple/pip/`\n"
    "  cause: error sending request for url (https://pypi.org/simple/pip/)\n"
    "  cause: Connection refused (os error 111)\n"
)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (RETRYING + NONE, "the package index cannot be reached"),
        (UV, "the package index cannot be reached"),
        (NONE, "no wheel of av==1 for it, or does not answer"),
        (RETRYING + NONE.replace("none", "2, 3"), "no wheel of av==1 for it. Name an index"),
        (OTHER_HASH, "the file of idna==3.10 has another hash than in the lock file"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
         "the disk of /cache is full. Free some space"),
        ("Could not fetch URL https://x/: There was a problem confirming the ssl certificate: "
         "[SSL: CERTIFICATE_VERIFY_FAILED]\n" + NONE, "is not trusted. Name the file"),
        ("ERROR: 401 Client Error: Unauthorized for url: https://x/simple/\n", "refuses the login"),
        ("one\nERROR: strange\x1b[31m thing\n", "strange\N{REPLACEMENT CHARACTER}[31m thing (the"),
        ("", "pip printed nothing"),
    ],
)  # fmt: skip
def test_an_error_says_what_to_do_in_one_line(output, message):
    found = explain_failure(output, Path("/cache"))
    assert message in found
    assert found.isprintable()
    assert len(found) < 600


def test_a_huge_output_takes_little_time():
    """Run times of the patterns are linear in the length of the output."""
    explain_failure(("x" * 1000 + " from " + "\t" * 1000) * 500, Path("/cache"))
    explain_failure("No matching distribution found for \n" * 20_000, Path("/cache"))


@pytest.mark.real
def test_the_end_of_the_output_is_in_the_log(tmp_path, monkeypatch, caplog):
    script = tmp_path / "pip"
    script.write_text("#!/bin/sh\necho first; echo 'No space left on device' >&2; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(wheel_download, "pip_command", lambda environ: (str(script),))
    cache = ImageCache(tmp_path)
    cache.create()
    caplog.set_level(logging.DEBUG, "cloudburst.image")
    with pytest.raises(ImageError, match=r"image for arm64 cannot be downloaded: the disk of"):
        anyio.run(wheel_download.fetch_wheels, read_lock(), "arm64", (2, 41), cache)
    assert "pip ended with exit code 1:\nfirst\nNo space left" in caplog.text
