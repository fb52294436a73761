"""Plans of jobs over HTTP: what they answer to good and bad scenes, and that nothing is kept."""

import json
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from cloudburst import fargate, local
from cloudburst.jobs import JobLimits, Places
from cloudburst.models.settings import Settings
from support.web_apps import job_form, open_jobs, upload

pytestmark = pytest.mark.anyio

ACCOUNT = Settings(subnets=("subnet-1",), region="us-east-1")


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    """Let any call to AWS fail."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


@pytest.fixture
async def http(cloud, tmp_path):
    """Return an HTTP client of an app with two places, in which no job is left."""
    places = Places(machine=local(workers=1, encoders=2), fargate=fargate(ACCOUNT))
    limits = JobLimits(owner_usd=Decimal(100))
    async with open_jobs(cloud, tmp_path / "jobs", places=places, limits=limits) as (_, http):
        yield http
        assert list((tmp_path / "jobs" / "jobs").glob("*")) == []


async def uploaded(http, scene):
    return scene | {name: await upload(http, scene[name]) for name in ("image_path", "audio_path")}


async def plan(http, *scenes, **more):
    answer = await http.post("/api/plan", json={"scenes": scenes, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_job_is_planned_at_each_place_that_the_server_offers(http, make_scene):
    scene = await uploaded(http, make_scene("a", seconds=60))
    many = [scene | {"scene_name": f"s{number}"} for number in range(60)]
    found = await plan(http, *many)
    assert found["faults"] == []
    assert found["film_seconds"] is None
    assert found["scenes"][59] == {"scene": "s59", "seconds": 60.0, "warnings": []}
    plans = found["plans"]
    assert {one["place"] for one in plans} == {"machine", "fargate", "both"}
    assert 3 <= len(plans) <= 8
    assert sum(one["chosen"] for one in plans) == 1
    (machine,) = (one for one in plans if one["place"] == "machine")
    assert (machine["tier"], machine["workers"], machine["usd"]) == (None, 2, "0")
    for one in plans:
        assert one["seconds_low"] <= one["seconds"] <= one["seconds_high"]
        assert not one["measured"]
        assert one["spot"] is False


async def test_terms_of_the_job_bound_the_plans(http, make_scene):
    scene = await uploaded(http, make_scene("a", seconds=60))
    many = [scene | {"scene_name": f"s{number}"} for number in range(60)]
    terms = {"place": "fargate", "tier": 2, "workers": 3, "spot": True, "max_usd": "0.05"}
    found = await plan(http, *many, **terms)
    for one in found["plans"]:
        assert (one["place"], one["tier"], one["spot"]) == ("fargate", "HIGH_PERFORMANCE", True)
        assert one["workers"] <= 3
    (chosen,) = (one for one in found["plans"] if one["chosen"])
    assert float(chosen["usd_high"]) <= 0.05
    found = await plan(http, *many, place="fargate", deadline=1)
    (chosen,) = (one for one in found["plans"] if one["chosen"])
    assert chosen["seconds"] == min(one["seconds"] for one in found["plans"])


async def test_good_scenes_are_planned_although_others_have_faults(http, make_scene, tmp_path):
    good = await uploaded(http, make_scene("good"))
    broken = tmp_path / "broken.png"
    await anyio.Path(broken).write_bytes(b"no picture")
    missing = tmp_path / "missing.srt"
    await anyio.Path(missing).write_text("1\n00:00:00,000 --> 00:00:01,000\nمرحبا\n", "utf-8")
    bad = [
        {"image": "nowhere", "duration": 1},
        good | {"scene_name": "no-upload", "image_path": "0" * 32},
        good | {"scene_name": "option", "options": {"font_size": 7}},
        good | {"scene_name": "picture", "image_path": await upload(http, broken)},
        good | {"scene_name": "letters", "subtitle_path": await upload(http, missing)},
        {"name": "private", "image": "https://127.0.0.1:9/a.png", "duration": 1},
        {"name": "length", "image": good["image_path"]},
        {"image": good["image_path"], "duration": 1},
    ]
    found = await plan(http, *bad[:3], good, *bad[3:])
    assert [one["scene"] for one in found["scenes"]] == ["good"]
    assert found["plans"]
    assert {fault["scene"]: (fault["field"], fault["code"]) for fault in found["faults"]} == {
        "scenes[0]": ("image", "no_file"),
        "no-upload": ("image_path", "no_file"),
        "option": ("options.font_size", "out_of_range"),
        "picture": ("image", "wrong_type"),
        "letters": ("subtitle", "no_font"),
        "private": ("image", "not_permitted"),
        "length": ("audio", "missing"),
        "scenes[8]": ("name", "missing"),
    }
    assert str(tmp_path) not in json.dumps(found)


async def test_faults_of_the_job_are_told_without_plans(http, make_scene):
    scene = await uploaded(http, make_scene("a"))
    for change, field in (
        ({"place": "moon"}, "place"),
        ({"workers": 1_000}, "workers"),
        ({"scenes": []}, "scenes"),
        ({"scenes": {"a": 1}}, "scenes"),
        ({"deadlines": 5}, "deadlines"),
        ({"options": {"fps": 7}}, "options.fps"),
        ({"film": True, "film_music": "0" * 32}, "film_music"),
    ):
        answer = await http.post("/api/plan", json={"scenes": [scene], **change})
        found = answer.json()
        assert (answer.status_code, found["plans"], found["scenes"]) == (200, [], [])
        assert [fault["field"] for fault in found["faults"]] == [field]


async def test_the_length_of_the_film_is_that_with_transitions(http, make_scene):
    scene = await uploaded(http, make_scene("a", seconds=2))
    film = {"film": True, "transition": "crossfade", "transition_seconds": 0.5}
    found = await plan(http, scene, scene | {"scene_name": "b"}, **film)
    assert found["film_seconds"] == pytest.approx(3.5, abs=0.01)
    short = {"name": "c", "image": scene["image_path"], "duration": 0.2}
    found = await plan(http, scene, short, scene | {"scene_name": "b"}, **film)
    assert [(fault["scene"], fault["field"]) for fault in found["faults"]] == [("c", "duration")]
    assert found["film_seconds"] == pytest.approx(3.5, abs=0.01)


async def test_a_form_is_planned_and_its_files_are_removed(http, make_scene):
    scene = {"name": "a", "image": "p.png", "duration": 2}
    content = await anyio.Path(make_scene("a")["image_path"]).read_bytes()
    answer = await http.post("/api/plan", **job_form([scene], ("p.png", content)))
    assert [one["seconds"] for one in answer.json()["scenes"]] == [2.0]


async def test_places_of_the_client_without_plans_leave_the_list_empty(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        found = await plan(http, await uploaded(http, make_scene("a")))
    assert (len(found["scenes"]), found["plans"]) == (1, [])


async def test_the_time_for_a_plan_is_bounded(cloud, make_scene, tmp_path, monkeypatch):
    monkeypatch.setattr("cloudburst.web.job_api.PREVIEW_SECONDS", 0.0)
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        scene = await uploaded(http, make_scene("a"))
        answer = await http.post("/api/plan", json={"scenes": [scene]})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert list((Path(tmp_path) / "jobs" / "jobs").glob("*")) == []
