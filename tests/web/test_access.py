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
