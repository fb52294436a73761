"""Versions of remote files, which stand for their contents in fingerprints."""

from __future__ import annotations

import pytest

from cloudburst.models.locations import HttpsUrl, RemoteLocation, S3Object
from cloudburst.models.remote_file import RemoteFile

SECRET = "sig=do-not-show"


def version(location: RemoteLocation, etag: str | None) -> str:
    return RemoteFile(location=location, size=7, etag=etag).version


def test_an_object_in_s3_may_be_moved() -> None:
    assert version(S3Object("films", "a.wav"), '"e"') == version(S3Object("other", "b.wav"), '"e"')


def test_etags_of_web_servers_count_for_one_url_with_any_signature() -> None:
    one = version(HttpsUrl(f"https://host/a.wav?{SECRET}"), '"e"')
    assert one == version(HttpsUrl("https://host/a.wav?sig=newer"), '"e"')
    assert one != version(HttpsUrl(f"https://host/b.wav?{SECRET}"), '"e"')
    assert one != version(HttpsUrl(f"https://host/a.wav?{SECRET}"), '"f"')


def test_versions_of_an_object_count() -> None:
    one, two = (
        RemoteFile(location=S3Object("films", "a.wav"), size=7, etag='"e"', version_id=version_id)
        for version_id in ("1", "2")
    )
    assert one.version != two.version


def test_without_an_etag_the_query_counts() -> None:
    url = "https://host/sound?id="
    assert version(HttpsUrl(f"{url}1"), None) != version(HttpsUrl(f"{url}2"), None)


@pytest.mark.parametrize("etag", ['"e"', None])
def test_no_version_shows_a_query(etag: str | None) -> None:
    assert SECRET not in version(HttpsUrl(f"https://host/a.wav?{SECRET}"), etag)
