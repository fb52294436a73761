"""Codes of problems: each one arises from bad input, and the fixes have each one."""

from io import BytesIO
from typing import get_args

import pytest
from PIL import Image

from cloudburst import RenderOptions, errors
from cloudburst.errors import FaultCode, JobLimitError
from cloudburst.inputs.preflight import check_scenes
from cloudburst.jobs import JobFailure
from cloudburst.models.limits import Limits
from cloudburst.models.problems import FIXES, code_of, fix_of
from support.web_apps import job_form, open_jobs

pytestmark = pytest.mark.anyio
CODES = get_args(FaultCode)


def picture(width, height):
    file = BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


# Changes of a valid scene, and the field in which each one is a fault.
BAD = {
    "missing": ({"image": None}, "image"),
    "no_file": ({"image": "b.png"}, "image"),
    "unreadable": ({"image": "cut.png"}, "image"),
    "wrong_type": ({"duration": "long"}, "duration"),
    "too_large": ({"image": "large.png"}, "image"),
    "too_long": ({"duration": 1e6}, "duration"),
    "out_of_range": ({"options": {"font_size": 500}}, "options.font_size"),
    "unknown_field": ({"subtitel": "a.srt"}, "subtitel"),
    "duplicate_name": ({"name": "Fine"}, "name"),
    "bad_name": ({"name": "a/b"}, "name"),
    "not_permitted": ({"image": "s3://others/a.png"}, "image"),
    "contradiction": ({"title_card": "A"}, "title_card"),
    "invalid": ({"options": {"fps": 31}}, "options.fps"),
}


@pytest.mark.parametrize("code", BAD)
async def test_a_bad_field_has_its_code_and_a_fix(code, cloud, tmp_path):
    change, field = BAD[code]
    fine = {"image": "a.png", "duration": 2}
    scenes = [{"name": "fine", **fine}, {"name": "bad", **fine, **change}]
    files = [("a.png", picture(2, 2)), ("cut.png", picture(2, 2)[:-12])]
    if code == "too_large":
        files.append(("large.png", picture(12_000, 12_000)))
    form = job_form(scenes, *files)
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await http.post("/api/jobs", **form)
    document = answer.json()
    assert (answer.status_code, document["code"]) == (400, "invalid_scenes")
    assert document["fix"] == FIXES["invalid_scenes"]
    (fault,) = document["faults"]
    assert (fault["code"], fault["field"], fault["fix"]) == (code, field, FIXES[code])


def test_a_text_that_no_font_has_is_a_fault_of_its_own():
    scene = {"name": "a", "title_card": "\N{LINEAR B SYLLABLE B008 A}", "duration": 1}
    (checked,) = check_scenes([scene], RenderOptions(), Limits())
    assert [fault.code for fault in checked.undrawable] == ["no_font"]
    assert {*BAD, "no_font"} == set(CODES), "each code arises in a test of this file"


def test_each_fix_is_that_of_a_fault_of_an_error_or_of_a_status():
    kinds = {code_of(name) for name in errors.__dict__ if name.endswith("Error")}
    statuses = {"not_found", "too_many_requests"}
    assert FIXES.keys() - kinds - statuses == set(CODES)


def test_an_error_without_a_fix_of_its_own_has_that_of_its_base_class():
    assert fix_of("CredentialsError") == fix_of("LaunchError") == "cloudburst doctor"
    assert fix_of("WorkerDiskFullError") == FIXES["worker"]
    assert fix_of("ValueError") == fix_of("forbidden") == ""


async def test_a_missing_job_is_an_error_with_a_code(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        document = (await http.get("/api/jobs/" + "0" * 32)).json()
        assert (document["code"], document["fix"]) == ("unknown_job", FIXES["unknown_job"])
        document = (await http.get("/api/jobs", params={"limit": 0})).json()
        assert (document["code"], document["fix"]) == ("bad_request", "")


def test_the_failure_of_a_job_has_code_and_fix_also_if_it_was_stored_without():
    failure = JobFailure.model_validate_json('{"kind": "JobLimitError", "message": "full"}')
    again = JobFailure.model_validate_json(failure.model_dump_json())
    assert again == failure
    assert again.model_dump()["code"] == code_of(JobLimitError.__name__) == "job_limit"
    assert again.fix == FIXES["job_limit"]
