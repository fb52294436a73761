"""Videos, covers and films of jobs over HTTP: parts, entity tags, names."""

from pathlib import Path
from urllib.parse import quote

import pytest

from support.web_apps import finished, open_jobs, submit, upload

pytestmark = pytest.mark.anyio

NAME = "场景 1"
DIGEST = "0" * 64
"""SHA-256 of each video, as the fake cloud reports it."""


@pytest.fixture
async def video(cloud, make_scene, tmp_path):
    """An HTTP client, the links of a finished job, and the URL of its video."""
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        image = await upload(http, make_scene("p")["image_path"])
        job = (await submit(http, {"name": NAME, "image": image, "duration": 1})).json()
        await finished(http, job)
        (listed,) = (await http.get(job["links"]["videos"])).json()["videos"]
        (jobs.queue.files(job["id"]).videos / f"{NAME}.mp4").write_bytes(b"0123456789")
        yield http, job["links"], listed["url"]


async def test_a_part_of_a_video_is_sent(video):
    http, _, url = video
    whole = await http.get(url)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["cache-control"] == "private, no-cache"
    part = await http.get(url, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert (await http.get(url, headers={"Range": "bytes=20-"})).status_code == 416
    tag = whole.headers["etag"]
    fresh = {"Range": "bytes=2-4", "If-Range": tag}
    assert (await http.get(url, headers=fresh)).status_code == 206
    stale = {"Range": "bytes=2-4", "If-Range": '"other"'}
    assert (await http.get(url, headers=stale)).status_code == 200


async def test_a_copy_of_a_video_is_not_sent_again(video):
    http, _, url = video
    tag = (await http.head(url)).headers["etag"]
    assert tag == f'"{DIGEST}"'
    for known in (tag, f'"x", W/{tag}', "*"):
        answer = await http.get(url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b""), known
        assert answer.headers["etag"] == tag
    assert (await http.get(url, headers={"If-None-Match": '"x"'})).status_code == 200


async def test_a_video_is_saved_under_its_name(video):
    http, _, url = video
    assert url.endswith(f"/{quote(NAME)}.mp4")
    name = f"filename*=utf-8''{quote(NAME)}.mp4"
    assert (await http.get(url)).headers["content-disposition"] == f"inline; {name}"
    answer = await http.get(url, params={"download": "1"})
    assert answer.headers["content-disposition"] == f"attachment; {name}"


async def test_other_files_of_the_job_are_not_sent(video, tmp_path):
    http, links, url = video
    folder = Path(next((tmp_path / "jobs" / "jobs").iterdir()))
    (folder / "videos" / "other.mp4").write_bytes(b"secret")
    for name in (
        "other.mp4",
        ".cloudburst",
        "..%2f..%2fjobs.sqlite",
        "%2e%2e",
        "a%00.mp4",
        "x.jpg",
    ):
        answer = await http.get(f"{links['videos']}/{name}")
        assert answer.status_code == 404, name
    (folder / "videos" / f"{NAME}.mp4").unlink()
    answer = await http.get(url)
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
    (folder / "videos" / f"{NAME}.mp4").symlink_to(folder / "videos" / "other.mp4")
    assert (await http.get(url)).status_code == 404
    (folder / "videos" / f"{NAME}.mp4").unlink()
    (folder / "videos" / f"{NAME}.mp4").mkdir()
    assert (await http.get(url)).status_code == 404


async def test_a_film_is_sent_when_it_is_finished(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        image = await upload(http, make_scene("p")["image_path"])
        scene = {"name": "a", "image": image, "duration": 1}
        plain = (await submit(http, scene)).json()
        assert plain["links"]["film"] is None
        assert (await http.get(f"{plain['links']['job']}/film")).status_code == 404
        job = (await submit(http, scene, film=True)).json()
        url = job["links"]["film"]
        assert (await http.get(url)).status_code == 404, "not finished yet"
        jobs.queue.files(job["id"]).film.write_bytes(b"film")
        answer = await http.get(url)
        assert (answer.status_code, answer.content) == (200, b"film")
        tag = {"If-None-Match": answer.headers["etag"]}
        assert (await http.get(url, headers=tag)).status_code == 304
