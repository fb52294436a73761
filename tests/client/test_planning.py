"""Plans of runs for callers of the SDK."""

import pytest

from cloudburst import Limits, PlanResult, Settings, endpoints, local, plan
from cloudburst.client.planning import check_possible
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    monkeypatch.delenv("AWS_SUBNET_ID", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


async def test_without_an_account_this_machine_is_proposed_and_fargate_compared(make_scene):
    scenes = [make_scene(f"s{number}", seconds=60) for number in range(30)]
    found = await plan(scenes, settings=Settings())
    assert found.faults == ()
    assert [scene.seconds for scene in found.scenes] == [60.0] * 30
    (chosen,) = (one for one in found.plans if one.chosen)
    assert (chosen.place, chosen.usd) == ("machine", 0)
    assert {"machine", "fargate"} <= {one.place for one in found.plans}


async def test_limits_bound_the_proposed_plan(make_scene):
    found = await plan([make_scene("a", seconds=60)], backend=local(), limits=Limits(deadline=1))
    assert [(one.place, one.chosen) for one in found.plans] == [("machine", True)]
    addresses = endpoints("http://a:5000", "http://b:5000")
    found = await plan([make_scene("a")], backend=addresses, limits=Limits(deadline=1e6))
    assert [(one.place, one.chosen) for one in found.plans] == [("endpoints", True)]


async def test_other_backends_have_no_plan(make_scene):
    found = await plan([make_scene("a")], backend=FakeCloud().backend)
    assert [scene.scene for scene in found.scenes] == ["a"]
    assert found.plans == ()


async def test_faults_are_in_the_result(make_scene, tmp_path):
    lone = {"name": "lone", "image": str(tmp_path / "nowhere.png"), "duration": 1}
    found = await plan([make_scene("a"), lone], backend=local(), film=tmp_path / "film.mp4")
    assert [(fault.scene, fault.field) for fault in found.faults] == [("lone", "image")]
    assert found.film_seconds == 1.0
    assert await plan([lone], backend=local()) == PlanResult(faults=found.faults)


async def test_invalid_options_of_the_film_are_raised(make_scene):
    with pytest.raises(InvalidScenesError, match="film_gap"):
        await plan([make_scene("a")], backend=local(), film_gap=1.0)


def test_places_of_scenes_without_names_are_those_in_the_whole_list():
    def check(scenes):
        faults = [
            SceneFault(f"scenes[{place}]", "name", "nothing", "a name")
            for place, scene in enumerate(scenes)
            if "name" not in scene and scene["round"] == check.round
        ]
        check.round += 1
        if faults:
            raise InvalidScenesError(faults=faults)
        return [scene["name"] for scene in scenes]

    check.round = 1
    scenes = [{"round": 1}, {"name": "a"}, {"round": 2}, {"name": "b"}, {"round": 2}]
    found, faults = check_possible(scenes, check)
    assert found == ["a", "b"]
    assert [fault.scene for fault in faults] == ["scenes[0]", "scenes[2]", "scenes[4]"]
