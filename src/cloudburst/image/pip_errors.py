"""Explanation of a failed download by pip or uv: what happened, and what to do.

Their messages have no codes. A text that is not known is shown as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

from cloudburst.text import printable_line

_FULL = re.compile(r"No space left on device|os error 28|Disk quota exceeded")
_HASH = re.compile(r"DO NOT MATCH THE HASHES|hash mismatch", re.IGNORECASE)
_CHANGED = re.compile(r"^[ \t]{1,20}(\S{1,200}) from [^\n]{1,1000}:\r?$", re.MULTILINE)
"""Line of pip that names a package whose file has another hash."""
_MISSING = re.compile(r"No matching distribution found for ([^\s;]{1,200})")
_NO_VERSIONS = "(from versions: none)"
"""What pip prints if the index does not have the package at all, or does not answer."""
_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED|confirming the ssl certificate|UnknownIssuer")
_LOGIN = re.compile(
    r"\b(?:401|403) (?:Client )?(?:Error|Unauthorized|Forbidden)|^User for ", re.MULTILINE
)
_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeout|connection error|ProxyError"
    r"|connection broken|Connection (?:refused|reset|aborted)|Network is unreachable|timed out"
    r"|error sending request|dns error|failed to lookup address|name resolution",
    re.IGNORECASE,
)


def explain_failure(output: str, folder: Path) -> str:
    """Return the reason for a failed download in one line, with what to do now.

    Args:
        output: Output of pip, or of uv if it could not start pip.
        folder: Folder of the download.
    """
    missing = _MISSING.search(output)
    has_versions = missing is not None and _NO_VERSIONS not in output
    if _FULL.search(output):
        reason = f"the disk of {folder} is full. Free some space, and run the command again"
    elif _HASH.search(output):
        reason = (
            f"the file of {_name(_CHANGED.search(output))} has another hash than in the lock file. "
            "Use the package index https://pypi.org/simple, or an unchanged mirror of it"
        )
    elif _CERTIFICATE.search(output):
        reason = (
            "the certificate of the package index is not trusted. Name the file of the trusted "
            "certificates in PIP_CERT"
        )
    elif _LOGIN.search(output):
        reason = "the package index refuses the login. Check PIP_INDEX_URL"
    elif not has_versions and _NETWORK.search(output):
        reason = (
            "the package index cannot be reached. Check the network and the proxy, or name another "
            "index in PIP_INDEX_URL"
        )
    elif missing:
        silent = "" if has_versions else ", or does not answer"
        reason = (
            f"the package index has no wheel of {_name(missing)} for it{silent}. Name an index "
            "that has all packages in PIP_INDEX_URL, such as https://pypi.org/simple"
        )
    else:
        reason = f"{_last_errors(output)} (the log at level DEBUG has more)"
    return reason


def _name(match: re.Match[str] | None) -> str:
    return printable_line(match[1]) if match else "a package"


def _last_errors(output: str) -> str:
    """Return the last errors in the output, or its last lines."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines[-3:]
    return printable_line(" ".join(errors[-3:])) or "pip printed nothing"
