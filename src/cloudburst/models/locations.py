"""Locations of input and output files: paths on this machine, S3 objects and HTTPS URLs. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import FieldSerializationInfo, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from cloudburst.errors import ConfigurationError
from cloudburst.text import short_repr

_A = TypeVar("_A")

# Maximum length of the key of an S3 object, in bytes of UTF-8 ("Naming Amazon S3 objects", Amazon
# S3 User Guide, 2026-11).
MAX_KEY_BYTES = 1024
# Maximum length of an HTTPS URL, in characters: longer than servers accept in a request.
MAX_URL_CHARS = 8192
EXPECTED_S3_OBJECT = "an S3 object such as s3://bucket/folder/file.png"
EXPECTED_S3_PREFIX = "an S3 folder such as s3://bucket/folder/"
EXPECTED_HTTPS_URL = "a URL such as https://example.com/file.png, without user name and password"

_ALIAS_EXAMPLE = "s3://name-1a2b3c4d-s3alias/"
# Pattern of the names of general purpose buckets, apart from rules that matter only at their
# creation ("General purpose bucket naming rules", Amazon S3 User Guide, 2026-11).
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Ends of the names of directory buckets (S3 Express One Zone) and of their access points, with
# which no other bucket ends (the same page). They need sessions, and list their keys unsorted.
_DIRECTORY_BUCKET_ENDS = ("--x-s3", "--xa-s3")
_S3_SCHEME = "s3://"
_HTTPS_SCHEME = "https://"
_S3_PATH = re.compile(r"s3:[/\\]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, slots=True)
class S3Object:
    """S3 object, written as ``s3://bucket/key``. Nothing in the key is percent-encoded."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{_S3_SCHEME}{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """Part of the key behind its last slash."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """File name extension with its dot, such as ``.mp4``; empty if there is none."""
        return PurePosixPath(self.name).suffix

    @property
    def folder(self) -> S3Prefix:
        """Prefix up to the last slash of the key, in which the object is."""
        folder, slash, _ = self.key.rpartition("/")
        return S3Prefix(self.bucket, folder + slash)

    def with_suffix(self, suffix: str) -> S3Object:
        """Return the object with another file name extension, such as ``.jpg``."""
        name = PurePosixPath(self.name).with_suffix(suffix).name
        return self.folder.object(name)


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """Folder in an S3 bucket, written as ``s3://bucket/folder/``."""

    bucket: str
    prefix: str
    """Start of the keys in the folder."""

    def __str__(self) -> str:
        return f"{_S3_SCHEME}{self.bucket}/{self.prefix}"

    def object(self, name: str) -> S3Object:
        """Return the object with this name in the folder; the name may contain slashes."""
        return S3Object(self.bucket, self.prefix + name)


@dataclass(frozen=True, slots=True, repr=False)
class HttpsUrl:
    """HTTPS URL of a file. As text it has no query, because a query may contain a secret."""

    url: str

    def __str__(self) -> str:
        shown, query, _ = self.url.partition("?")
        return f"{shown}?…" if query else shown

    def __repr__(self) -> str:
        return f"HttpsUrl({str(self)!r})"

    @property
    def name(self) -> str:
        """Last part of the URL's path, decoded."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]


# Location of a file that is not on this machine.
RemoteLocation: TypeAlias = S3Object | HttpsUrl
# Location of an input file.
AnyLocation: TypeAlias = Path | S3Object | HttpsUrl
# Location of an output file.
OutputLocation: TypeAlias = Path | S3Object
# Folder for output files.
OutputFolder: TypeAlias = Path | S3Prefix
# Types of `AnyLocation`, for ``isinstance``.
LOCATION_TYPES = (Path, S3Object, HttpsUrl)


def is_url(text: str) -> bool:
    """Return whether a text is a URL of any scheme and not a path."""
    return _URL.match(text) is not None


def parse_location(text: str) -> AnyLocation:
    """Return the location that a text names: a URL of S3 or HTTPS, otherwise a path."""
    if text.startswith(_S3_SCHEME):
        return parse_s3_object(text)
    if text.startswith(_HTTPS_SCHEME):
        return parse_https_url(text)
    if is_url(text):
        raise ValueError(_wrong_scheme(text, "a path, s3:// or https://"))
    return Path(text)


def parse_s3_object(text: str) -> S3Object:
    """Return the S3 object that a text names. Raises ``ValueError`` if it names none."""
    bucket, key = _parse_s3(text, EXPECTED_S3_OBJECT)
    if not key or key.endswith("/"):
        found = "no key" if not key else "a folder"
        msg = f"{found}: {short_repr(text)}; expected {EXPECTED_S3_OBJECT}"
        raise ValueError(msg)
    return S3Object(bucket, key)


def parse_s3_prefix(text: str) -> S3Prefix:
    """Return the folder in S3 that a text names; a slash at its end may be left out."""
    bucket, key = _parse_s3(text, EXPECTED_S3_PREFIX)
    return S3Prefix(bucket, f"{key}/" if key and not key.endswith("/") else key)


def parse_output_folder(text: str) -> OutputFolder:
    """Return the folder for output files that a text names: a folder in S3, otherwise a path."""
    if is_s3(text):
        return parse_s3_prefix(text)
    if is_url(text):
        raise ValueError(_wrong_scheme(text, f"a path or {EXPECTED_S3_PREFIX}"))
    return Path(text)


def subfolder(folder: OutputFolder, name: str) -> OutputFolder:
    """Return the subfolder of this name."""
    if isinstance(folder, Path):
        return folder / name
    return S3Prefix(folder.bucket, f"{folder.prefix}{name}/")


def is_s3(text: object) -> bool:
    """Return whether a value is a text that starts with ``s3://``."""
    return isinstance(text, str) and text.startswith(_S3_SCHEME)


def is_path_of_s3(path: object) -> bool:
    """Return whether a path was made of the URL of an S3 object, so that it is ``s3:/bucket/…``."""
    return not is_s3(path) and _S3_PATH.match(str(path)) is not None


def _parse_s3(text: str, expected: str) -> tuple[str, str]:
    bucket, _, key = text.removeprefix(_S3_SCHEME).partition("/")
    if bucket.startswith("arn:"):
        example = f"the name of a bucket, or the alias of an access point: {_ALIAS_EXAMPLE}"
        raise ValueError(f"an ARN: {short_repr(text)}; expected {example}")
    if bucket.endswith(_DIRECTORY_BUCKET_ENDS):
        msg = (
            f"a directory bucket (S3 Express One Zone): {short_repr(text)}; expected a general "
            "purpose bucket"
        )
        raise ValueError(msg)
    if not text.startswith(_S3_SCHEME) or not _BUCKET.fullmatch(bucket) or ".." in bucket:
        msg = f"not the name of a bucket: {short_repr(text)}; expected {expected}"
        raise ValueError(msg)
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        msg = f"characters that are not Unicode: {short_repr(text)}; expected {expected}"
        raise ValueError(msg) from None
    if length > MAX_KEY_BYTES:
        msg = f"a key of {length} bytes; expected at most {MAX_KEY_BYTES}"
        raise ValueError(msg)
    parts = key.removesuffix("/").split("/")
    if key and ({"", ".", ".."}.intersection(parts) or not key.isprintable()):
        # S3 allows them, but HTTP clients and file systems change or drop them.
        reason = "empty parts, '.', '..' or characters that cannot be seen"
        msg = f"a key with {reason}: {short_repr(text)}; expected {expected}"
        raise ValueError(msg)
    return bucket, key


def parse_https_url(text: str) -> HttpsUrl:
    """Return the HTTPS URL that a text is. Raises ``ValueError`` if it is none."""
    try:
        parts = urlsplit(text)
        valid = (
            parts.scheme == "https"
            and len(text) <= MAX_URL_CHARS
            and text.isascii()
            and text.isprintable()
            and not any(char in text for char in ' "<>\\^`{|}')
            and parts.username is None
            and _HOST.fullmatch(parts.netloc.rpartition(":")[0] if parts.port else parts.netloc)
            and not parts.fragment
        )
    except ValueError:  # an invalid port or IPv6 address
        valid = False
    if not valid:
        msg = f"not a valid URL: {_without_secrets(text)}; expected {EXPECTED_HTTPS_URL}"
        raise ValueError(msg)
    return HttpsUrl(text)


def _wrong_scheme(url: str, expected: str) -> str:
    for scheme in (_S3_SCHEME, _HTTPS_SCHEME):
        if url.lower().startswith(scheme):
            expected = f"{scheme} in lower case"
    return f"a URL: {_without_secrets(url)}; expected {expected}"


def _without_secrets(url: str) -> str:
    """Return a URL for a message, without user, password, query and fragment."""
    shown = re.split(r"[?#]", url, maxsplit=1)[0]
    return short_repr(re.sub(r"(?<=://)[^/]*@", "", shown))


def location_text(location: AnyLocation | S3Prefix) -> str:
    """Return the text from which `parse_location` makes the same location."""
    # It includes the query of an HTTPS URL: it is for journals, not for messages.
    return location.url if isinstance(location, HttpsUrl) else str(location)


def _parsed_by(parse: Callable[[str], object], *types: type) -> PlainValidator:
    """Return a validator that accepts values of some types, and parses texts and paths."""

    def validate(value: Any) -> object:
        if isinstance(value, types):
            return value
        text: object = value.__fspath__() if hasattr(value, "__fspath__") else value
        if not isinstance(text, str):
            raise PydanticCustomError("location_type", "not a path or a URL")
        return parse(text)

    return PlainValidator(validate)


def _serialize(location: AnyLocation, info: FieldSerializationInfo) -> Path | str:
    # pydantic would turn the dataclasses into dictionaries, which are not valid locations.
    if isinstance(location, Path) and not info.mode_is_json():
        return location
    return location_text(location)


_AS_TEXT = (
    PlainSerializer(_serialize),
    WithJsonSchema({"type": "string"}),
)
# Type of a field with the location of an input file; as text: a path, ``s3://…`` or
# ``https://…``.
Location: TypeAlias = Annotated[
    Path | S3Object | HttpsUrl, _parsed_by(parse_location, *LOCATION_TYPES), *_AS_TEXT
]
# Type of a field with a folder for output files; as text: a path or ``s3://bucket/folder/``.
WrittenFolder: TypeAlias = Annotated[
    Path | S3Prefix, _parsed_by(parse_output_folder, Path, S3Prefix), *_AS_TEXT
]
# Type of a field with the location of an output file; as text: a path or ``s3://…``.
WrittenLocation: TypeAlias = Annotated[
    Path | S3Object,
    _parsed_by(lambda text: parse_s3_object(text) if is_s3(text) else Path(text), Path, S3Object),
    *_AS_TEXT,
]


def absolute_location(location: _A) -> _A | Path:
    """Return a location that does not depend on the current folder."""
    return location.absolute() if isinstance(location, Path) else location


def local_paths(locations: Iterable[AnyLocation]) -> list[Path]:
    """Return the locations that are paths on this machine."""
    return [location for location in locations if isinstance(location, Path)]


def require_path(location: AnyLocation, name: str) -> Path:
    """Return a location that is a path on this machine."""
    if isinstance(location, Path):
        return location
    raise ConfigurationError(f"{name}: {location}; expected a file on this machine")
