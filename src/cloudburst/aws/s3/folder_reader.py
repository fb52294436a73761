"""Input files and folders in S3, for the check before a run and for scene files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.client.responses import error_code_of, error_detail_of
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.s3.request_waits import repeat_while_busy
from cloudburst.errors import AccessDeniedError, AWSError, ResourceMissingError
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models import failures
from cloudburst.models.failures.s3_errors import KEY_DENIED, OBJECT_ARCHIVED
from cloudburst.models.locations import RemoteLocation, S3Object, S3Prefix
from cloudburst.models.settings import Settings
from cloudburst.ports.remote_files import RangeAnswer
from cloudburst.text import printable_line

# Maximum length of the name of an archive that is shown, in characters.
_MAX_PLACE_CHARS = 40
# Error code of S3 for an object that does not exist in a bucket that does.
_NO_SUCH_KEY = "NoSuchKey"


class S3FolderReader:
    """Reader of ranges of objects, and of the names of objects in a folder."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self, location: RemoteLocation, start: int, end: int) -> RangeAnswer:
        """Return the bytes of an object from ``start`` up to, but not including, ``end``.

        Raises:
            InvalidInputError: The object or its bucket is missing, or may not be read.
        """
        assert isinstance(location, S3Object), "only objects in S3 are read here"
        with _translated(location):
            found = await repeat_while_busy(partial(self._store.read_range, location, start, end))
        return RangeAnswer(data=found.data, file=found.info.remote_file(location))

    async def list_names(self, folder: S3Prefix) -> Sequence[str]:
        """Return the names of the objects directly in a folder.

        Raises:
            InvalidInputError: The bucket is missing, or may not be listed.
        """
        with _translated(folder):
            found = await repeat_while_busy(partial(self._store.list_folder, folder))
        # The empty object that stands for a folder itself has no name.
        return [location.name for location in found if location.name]


@asynccontextmanager
async def open_folder_reader(settings: Settings) -> AsyncGenerator[S3FolderReader]:
    """Yield access to objects in S3 with the credentials of the settings."""
    async with open_aws(settings) as aws:
        yield S3FolderReader(ObjectStore(aws, settings))


@contextmanager
def _translated(location: S3Object | S3Prefix) -> Generator[None]:
    """Raise `InvalidInputError` for errors that only concern this object or its bucket."""
    try:
        yield
    except ResourceMissingError as exc:
        if isinstance(location, S3Object) and error_code_of(exc) == _NO_SUCH_KEY:
            raise InvalidInputError("no such object", code="no_file") from exc
        expected = "the name of a bucket that exists"
        raise InvalidInputError("no such bucket", expected, "no_file") from exc
    except AccessDeniedError as exc:
        raise _denied(location, error_detail_of(exc, "Message")) from exc
    except AWSError as exc:
        if exc.code == OBJECT_ARCHIVED:
            place = error_detail_of(exc, "AccessTier") or error_detail_of(exc, "StorageClass")
            found = f"archived ({printable_line(place, _MAX_PLACE_CHARS)})" if place else "archived"
            raise InvalidInputError(found, "an object that was restored") from exc
        reason = str(exc).removeprefix(f"{location}: ")
        raise InvalidInputError(reason, "an object that S3 sends") from exc


def _denied(location: S3Object | S3Prefix, message: str) -> InvalidInputError:
    reason = failures.classify_denial(message)
    if reason is KEY_DENIED:
        return InvalidInputError(
            f"no permission to use its key of KMS ({printable_line(message)})",
            "the permission kms:Decrypt for the key (cloudburst init --policy --s3-key KEY)",
            "not_permitted",
        )
    if reason is not None:
        found = f"no permission to read it: {reason.meaning} ({printable_line(message)})"
        expected = "an object that its policies permit to read"
        return InvalidInputError(found, expected, "not_permitted")
    if isinstance(location, S3Object):
        needed = "the permission s3:GetObject, and s3:ListBucket to see if it is missing"
    else:
        needed = "the permission s3:ListBucket"
    return InvalidInputError("no permission to read it", needed, "not_permitted")
