"""Answers of the function ``authorize`` that are not valid, and copies that others could read."""

import pytest

from cloudburst.errors import ConfigurationError
from cloudburst.web import Access
from cloudburst.web.access import Action, find_access
from support.web_apps import finished, open_jobs, submit, upload

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("owner", [None, "", 7, b"ada", ["ada"]])
def test_an_owner_is_a_text_that_is_not_empty(owner):
    """The owner ``None`` would see the jobs of all owners."""
    with pytest.raises(ConfigurationError, match="the owner is"):
        Access(owner=owner)


@pytest.mark.parametrize("answer", [None, "ada", {"owner": "ada"}, True])
async def test_an_answer_is_an_access(answer):
    async def later(_request, _action):
        return answer

    for authorize in (lambda _request, _action: answer, later):
        with pytest.raises(ConfigurationError, match="authorize returned"):
            await find_access(authorize, None, Action.READ)


async def test_no_cache_stores_responses_about_jobs(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        image = await upload(http, make_scene("p")["image_path"])
        made = await submit(http, {"name": "a", "image": image, "duration": 1})
        links = made.json()["links"]
        await finished(http, made.json())
        paths = (links["job"], links["videos"], links["report"], links["events"], "/api/jobs")
        answers = [await http.get(path) for path in (*paths, f"/api/jobs/{'0' * 32}")]
        answers += [made, await submit(http), await http.post("/api/jobs", content=b"x")]
        assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


URL = "https://video.example:8443/api"
SAME = {"host": "localhost:8000", "origin": "http://localhost:8000"}
CALLERS = [
    ({}, 415, 200),
    (SAME, 415, 200),
    (SAME | {"sec-fetch-site": "same-origin"}, 415, 200),
    ({"host": "127.0.0.1:8000"}, 415, 200),
    ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, 415, 200),
    ({"host": "Video.Example:8443", "origin": "https://video.example:8443"}, 415, 200),
    ({"host": "localhost", "origin": "https://video.example:8443"}, 415, 200),  # behind a proxy
    (SAME | {"origin": "https://evil.example"}, 403, 200),
    (SAME | {"origin": "http://localhost:3000"}, 403, 200),
    (SAME | {"origin": "null"}, 403, 200),
    ({"host": "localhost:8000", "sec-fetch-site": "cross-site"}, 403, 200),
    ({"host": "evil.example", "origin": "http://evil.example"}, 403, 403),  # DNS rebinding
    ({"host": "evil.example:8443"}, 403, 403),
    ({"host": "localhost.evil.example"}, 403, 403),
    ({"host": "localhost@evil.example"}, 403, 403),
    ({"host": "[::"}, 400, 400),
]


@pytest.mark.parametrize(("headers", "post", "get"), CALLERS)
async def test_pages_of_other_sites_change_and_read_nothing(cloud, tmp_path, headers, post, get):
    async with open_jobs(cloud, tmp_path / "jobs", public_url=URL) as (_, http):
        for method, path, status in (
            ("POST", "/api/jobs", post),
            ("POST", f"/api/jobs/{'0' * 32}/cancel", 404 if post == 415 else post),
            ("DELETE", f"/api/uploads/{'0' * 32}", 404 if post == 415 else post),
            ("GET", "/api/jobs", get),
        ):
            answer = await http.request(method, path, headers=headers, content=b"x")
            assert answer.status_code == status, (method, path)


async def test_without_a_public_url_a_page_without_origin_changes_nothing(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await http.post("/api/jobs", headers={"origin": "null"})
        assert answer.json() == {
            "error": "Forbidden",
            "message": "the request comes from a page of another site",
            "code": "forbidden",
            "fix": "",
        }


async def test_an_app_that_asks_who_the_caller_is_decides_itself(cloud, tmp_path):
    access = Access(owner="ada")
    async with open_jobs(cloud, tmp_path / "jobs", authorize=lambda *_: access) as (_, http):
        headers = {"host": "any.example", "origin": "https://other.example"}
        assert (await http.post("/api/jobs", headers=headers)).status_code == 415
