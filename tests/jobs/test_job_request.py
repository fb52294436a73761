"""Invalid fields of a job are reported as those of a run."""

from __future__ import annotations

import pytest

from cloudburst.errors import InvalidScenesError
from cloudburst.jobs import JobRequest

GOOD = {"name": "a", "image": "a.png", "audio": "a.mp3"}


def faults_of(**fields):
    with pytest.raises(InvalidScenesError) as caught:
        JobRequest(**fields)
    return [(fault.scene, fault.field, fault.found) for fault in caught.value.faults]


def test_all_faults_of_scenes_and_of_the_job_are_reported_together():
    scenes = [{"name": "a", "audio": "a.mp3"}, GOOD, {**GOOD, "name": "b", "imgae": "x"}]
    assert faults_of(scenes=scenes, transition="wipe", self="x") == [
        ("a", "image", "nothing"),
        ("a", "name", "scenes[0] and scenes[1] both have the name 'a'"),
        ("b", "imgae", "an unknown field"),
        ("", "transition", "'wipe'"),
        ("", "self", "an unknown field"),
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [({}, "scenes"), ({"scenes": []}, "scenes"), ({"scenes": 3}, "scenes")],
)
def test_a_job_needs_scenes(fields, field):
    assert [fault[1] for fault in faults_of(**fields)] == [field]


def test_a_valid_job_is_what_it_was():
    request = JobRequest(scenes=[GOOD], metadata={"order": 17})
    assert JobRequest.model_validate(request.model_dump(mode="json")) == request
