"""JSON that is small, but would need much memory, time or room in a response."""

import json

import pytest

from cloudburst.errors import InvalidScenesError
from cloudburst.web import RequestLimits, Webhooks
from cloudburst.web.access import Folders
from cloudburst.web.submission_checks import MAX_FAULTS, SubmissionRules, check_submission
from cloudburst.web.submissions import MAX_VALUES
from support.web_apps import open_jobs

pytestmark = pytest.mark.anyio

SCENE = {"name": "a", "image": "https://example.com/a.png", "duration": 1}
MANY = {f"field{number}": 1 for number in range(101)}
MORE_THAN_ALL = f'{{"scenes": [{"[]," * MAX_VALUES}[]]}}'


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        (MORE_THAN_ALL, 400, "at most 100,000 values"),
        (MORE_THAN_ALL.replace("[]", "{}"), 400, "at most 100,000 values"),
        ("[" * 150_000, 400, "at most 100,000 values"),
        (json.dumps(MANY), 400, "job: 101 fields"),
        (json.dumps({"scenes": [SCENE, MANY]}), 400, "scenes[1]: 101 fields"),
        (json.dumps({"scenes": [SCENE], "options": MANY}), 400, "job.options: 101 fields"),
        (
            json.dumps({"scenes": [SCENE | {"options": {"effects": ["x"] * 101}}]}),
            400,
            "scenes[0].options.effects: 101 items",
        ),
        (json.dumps({"scenes": [SCENE | {"x" * 101: 1}]}), 400, "a name of a field that is too"),
    ],
    ids=["lists", "objects", "levels", "job", "scene", "options", "items", "name"],
)
async def test_json_with_too_many_parts_is_refused(body, status, place, cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        json_type = {"content-type": "application/json"}
        answer = await http.post("/api/jobs", content=body, headers=json_type)
        assert answer.status_code == status
        assert place in answer.json()["message"]


def test_scenes_behind_many_problems_are_not_read():
    """Describing all 90,000 problems would take half a minute."""
    rules = SubmissionRules(
        owner="ada",
        sources=Folders([], "sources"),
        destinations=Folders([], "destinations"),
        limits=RequestLimits(),
        webhooks=Webhooks(),
    )
    scene = {"image": ""} | {f"field{number}": 1 for number in range(90)}
    with pytest.raises(InvalidScenesError) as caught:
        check_submission({"scenes": [scene] * 1_000}, {}, rules)
    assert MAX_FAULTS <= len(caught.value.faults) <= MAX_FAULTS + 100
