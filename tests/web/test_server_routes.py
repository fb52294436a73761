"""Questions about the server: places and limits, looks, checks of the machine and the account."""

import shutil
import subprocess
import sys
from decimal import Decimal
from importlib.metadata import version

import anyio
import pytest
from pydantic import ValidationError

from cloudburst import Limits, RenderOptions
from cloudburst.aws.setup import check_account
from cloudburst.jobs import JobLimits, Places
from cloudburst.models.options.subtitles import CAPTIONS
from cloudburst.models.settings import Settings
from cloudburst.testing import FakeCloud
from cloudburst.web import Access, server_handlers
from support.web_apps import open_jobs

pytestmark = pytest.mark.anyio
NOWHERE = Settings(_env_file=None, subnets=())
BROKEN = Settings(_env_file=None, subnets=("subnet-1",), profile="nobody")


def accepts(option, value):
    try:
        RenderOptions.model_validate({option["name"]: value})
    except ValidationError:
        return False
    return True


async def test_looks_are_the_options_with_the_values_that_are_valid(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        looks = (await http.get("/api/looks")).json()
    options = {option["name"]: option for option in looks["options"]}
    assert options.keys() == RenderOptions.model_fields.keys()
    assert len(options) == len(looks["options"])
    for option in options.values():
        items = option["kind"] == "list"
        for value in option["choices"] or ():
            assert accepts(option, [value] if items else value)
        if option["kind"] in {"choice", "list"} and option["choices"]:
            assert not accepts(option, ["?"] if items else "?")
        if option["minimum"] is not None:
            low, high = option["minimum"], option["maximum"]
            for value, valid in ((low, True), (high, True), (low - 0.01, False), (high + 1, False)):
                assert accepts(option, [value, value] if items else value) == valid, option
        if option["default"] is not None:
            assert accepts(option, option["default"])
        assert option["text"]
    kinds = {name: option["kind"] for name, option in options.items()}
    named = ("fit", "fps", "fade_in", "text_color", "size", "cover", "font", "effects", "metadata")
    assert [kinds[name] for name in named] == [
        *("choice", "integer", "number", "colour", "text", "flag", "file", "list", "text")
    ]
    groups = list(dict.fromkeys(option["group"] for option in looks["options"]))
    assert groups == ["picture", "motion", "subtitles", "sound", "watermark", "video"]


async def test_presets_are_the_named_looks(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        presets = (await http.get("/api/looks")).json()["presets"]
    assert list(presets) == [*CAPTIONS]
    for name, options in presets.items():
        named = RenderOptions(caption=name).model_dump(mode="json")
        assert options.items() <= named.items()


async def test_a_machine_without_an_account_is_checked_alone(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs", settings=NOWHERE) as (_, http):
        checks = (await http.get("/api/checks")).json()["checks"]
    assert [check["code"] for check in checks] == ["renderer", "confinement"]
    assert checks[0] | {"text": ""} == {"code": "renderer", "state": "ok", "text": "", "fix": ""}


async def test_checks_of_an_account_run_one_after_another_and_tell_why_they_cannot(
    cloud, tmp_path, monkeypatch
):
    running, doctor = [], check_account.doctor

    async def counted(settings):
        running.append(settings)
        assert len(running) == 1
        await anyio.sleep(0.01)
        running.pop()
        return await doctor(settings)

    monkeypatch.setattr(check_account, "doctor", counted)
    async with open_jobs(cloud, tmp_path / "jobs", settings=BROKEN) as (_, http):
        answers = []

        async def ask():
            answers.append((await http.get("/api/checks")).json()["checks"])

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask)
    (*_, account) = answers[0]
    assert (account["code"], account["state"]) == ("credentials", "failed")
    assert "nobody" in account["text"]
    assert account["fix"] == "cloudburst doctor"


async def test_checks_are_for_the_operator(cloud, tmp_path):
    def authorize(request, _action):
        return Access(owner="ada", operator=request.headers["user"] == "root")

    folder = tmp_path / "jobs"
    async with open_jobs(cloud, folder, authorize=authorize, settings=NOWHERE) as (_, http):
        answer = await http.get("/api/checks", headers={"user": "ada"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert (await http.get("/api/checks", headers={"user": "root"})).status_code == 200


async def test_a_server_without_a_choice_of_places_says_why(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        server = (await http.get("/api/server")).json()
        free = shutil.disk_usage(tmp_path).free
        jobs_limit = jobs.queue.limits.owner_jobs
    assert [place["available"] for place in server["places"]] == [False] * 3
    assert all(place["reason"] for place in server["places"])
    assert server["limits"] == {
        "scenes": 1_000,
        "request_bytes": 1_000_000_000,
        "file_bytes": Limits().file_bytes,
        "owner_jobs": jobs_limit,
        "owner_usd": None,
        "max_usd": None,
    }
    assert abs(server["disk_free"] - free) < 1_000_000_000
    assert (server["preview"], server["key"]) == (True, False)
    assert server["version"] == version("cloudburst-sdk")


async def test_a_server_names_its_places_sizes_and_limits(cloud, tmp_path):
    more = {
        "places": Places(machine=cloud.backend, fargate=FakeCloud().backend, workers=12),
        "limits": JobLimits(owner_usd=Decimal("2.50")),
        "authorize": lambda *_: Access(owner="ada"),
    }
    async with open_jobs(cloud, tmp_path / "jobs", **more) as (_, http):
        server = (await http.get("/api/server")).json()
    places = {place["place"]: place for place in server["places"]}
    assert [*places] == ["machine", "fargate", "both"]
    assert all(place["available"] and not place["reason"] for place in places.values())
    assert [place["workers"] for place in places.values()] == [None, 12, 12]
    assert places["machine"]["tiers"] == []
    assert places["fargate"]["tiers"][0] == {
        "tier": 1,
        "name": "STANDARD",
        "vcpu": 2,
        "memory_gb": 4,
    }
    assert (server["limits"]["owner_usd"], server["key"]) == ("2.50", True)


async def test_a_machine_that_cannot_render_is_not_available(cloud, tmp_path, monkeypatch):
    missing = "av missing; pip install 'cloudburst-sdk[local]'"
    monkeypatch.setattr(server_handlers, "missing_requirements", lambda *_: missing)
    places = Places(machine=cloud.backend)
    async with open_jobs(cloud, tmp_path / "jobs", places=places, settings=NOWHERE) as (_, http):
        server = (await http.get("/api/server")).json()
        checks = (await http.get("/api/checks")).json()["checks"]
    assert [place["available"] for place in server["places"]] == [False] * 3
    assert server["places"][0]["reason"] == missing
    assert not server["preview"]
    assert (checks[0]["state"], checks[0]["text"]) == ("failed", "av missing")
    assert checks[0]["fix"] == "pip install 'cloudburst-sdk[local]'"


@pytest.mark.nightly
def test_the_libraries_of_aws_are_not_imported_with_the_routes():
    code = "import sys, cloudburst.web; print(*{'aioboto3', 'botocore', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
