"""The architecture of tasks is chosen by what an hour of work costs on each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from cloudburst import Client, fargate
from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.architecture import (
    SAMPLES,
    MeasuredEncodes,
    choose_architecture,
)
from cloudburst.aws.fargate.backend import open_fargate
from cloudburst.aws.fargate.task_definition import (
    describe_other_architectures,
    describe_task_definition,
)
from cloudburst.errors import ConfigurationError
from cloudburst.history import read_history
from cloudburst.models.limits import Timeouts
from cloudburst.models.performance import Sample
from cloudburst.models.settings import ArchitectureSetting
from cloudburst.models.task import PROTOCOL_VERSION
from cloudburst.models.tier import Tier
from cloudburst.testing import Fault
from support.fargate_backend import account, count, settings_of

pytestmark = pytest.mark.anyio


def measured(count, *, seconds=1.0, usd=1.0):
    return MeasuredEncodes(
        count=count,
        seconds=count * seconds,
        work=2.0 * count,
        usd_per_second=Decimal(usd) / 3600,
        encoder_slots=2,
    )


@pytest.mark.parametrize(
    ("encodes", "chosen"),
    [
        ({"X86_64": 0}, "X86_64: no other task definition exists"),
        ({"X86_64": 0, "ARM64": 0}, "X86_64: to measure it: 0 of 8 encodes are known"),
        ({"X86_64": 7, "ARM64": 90}, "X86_64: to measure it: 7 of 8 encodes are known"),
        ({"X86_64": 8, "ARM64": 0}, "ARM64: to measure it: 0 of 8 encodes are known"),
    ],
)
def test_each_architecture_is_measured_first(encodes, chosen):
    choice = choose_architecture({n: measured(c) for n, c in encodes.items()}, named="X86_64")
    assert f"{choice.architecture}: {choice.reason}" == chosen


@pytest.mark.parametrize(
    ("arm_seconds", "chosen", "prices"),
    [
        (1.2, "ARM64", "$0.2400 on ARM64 (9 encodes), $0.2500 on X86_64 (8 encodes)"),
        (1.3, "X86_64", "$0.2500 on X86_64 (8 encodes), $0.2600 on ARM64 (9 encodes)"),
    ],
)
def test_a_slower_architecture_may_be_cheaper(arm_seconds, chosen, prices):
    encodes = {"X86_64": measured(8), "ARM64": measured(9, seconds=arm_seconds, usd=0.8)}
    choice = choose_architecture(encodes, named="X86_64")
    assert choice.architecture == chosen
    assert choice.reason == f"an hour of work costs {prices}"


def test_only_encodes_of_the_same_kind_of_worker_count():
    samples = [
        Sample(kind="a", measure="encode", seconds=3.0, work=4.0),
        Sample(kind="a", measure="startup", seconds=40.0),
        Sample(kind="b", measure="encode", seconds=9.0, work=4.0),
        Sample(kind="a", measure="encode", seconds=2.0, work=6.0),
    ]
    usd = Decimal("0.0001")
    found = MeasuredEncodes.of(samples, kind="a", usd_per_second=usd, encoder_slots=2)
    assert (found.count, found.seconds, found.work) == (2, 5.0, 10.0)
    assert found.usd_per_hour_of_work == 3600 * usd / 2 * Decimal("0.5")


def test_encodes_without_work_measure_nothing():
    without = replace(measured(9), work=0.0)
    choice = choose_architecture({"X86_64": measured(9), "ARM64": without}, named="X86_64")
    assert choice.architecture == "ARM64"


def auto(emulator, **changes):
    return settings_of(emulator, architecture=ArchitectureSetting.AUTO, **changes)


def opened(settings, samples=(), tier=Tier.STANDARD):
    return open_fargate(settings, Timeouts(), tier, samples=samples)


async def test_both_definitions_are_measured_and_then_the_cheaper_one_is_used():
    with account() as emulator:
        family = settings_of(emulator).task_definition
        async with opened(auto(emulator)) as backend:
            assert backend.architecture == "X86_64: no other task definition exists"
        emulator.register(family=f"{family}-arm64", architecture="ARM64")
        samples, prices = [], []
        for expected in ("X86_64", "ARM64"):
            async with opened(auto(emulator), samples) as backend:
                assert backend.architecture is not None
                assert backend.architecture.startswith(f"{expected}: to measure it")
            prices.append(backend.usd_per_second)
            seconds = {"X86_64": 1.0, "ARM64": 1.2}[expected]
            samples += [Sample(kind=backend.kind, measure="encode", seconds=seconds, work=4)] * 8
        assert prices[1] < 0.85 * float(prices[0])
        async with opened(auto(emulator), samples) as backend:
            assert backend.architecture is not None
            assert backend.architecture.startswith("ARM64: an hour of work costs $0.0")
            assert "ARM64" in backend.kind


async def test_a_task_with_more_encoder_slots_costs_less_for_each_of_them():
    """The public image encodes one scene at a time, ours one in each slot."""
    version = {"cloudburst.protocol-version": str(PROTOCOL_VERSION)}
    labels = {"cloudburst.protocol": "native"} | version
    with account() as emulator:
        family = settings_of(emulator).task_definition
        emulator.register(
            family=f"{family}-arm64", architecture="ARM64", container={"dockerLabels": labels}
        )
        tier, samples = Tier.MAXIMUM_PERFORMANCE, []
        for architecture in ("X86_64", "ARM64"):
            async with opened(auto(emulator), samples, tier) as backend:
                assert architecture in backend.kind
            samples += [Sample(kind=backend.kind, measure="encode", seconds=2.0, work=4)] * 8
        async with opened(auto(emulator), samples, tier) as backend:
            usd = 3600 * backend.usd_per_second / backend.encoder_slots / 2
            assert backend.encoder_slots > 1
            assert backend.architecture is not None
            assert backend.architecture.startswith(f"ARM64: an hour of work costs ${usd:.4f} on")


async def test_the_family_for_arm_may_be_the_named_one():
    with account() as emulator:
        family = settings_of(emulator).task_definition
        emulator.register(family=f"{family}-arm64", architecture="ARM64")
        async with opened(auto(emulator, task_definition=f"{family}-arm64")) as backend:
            assert backend.architecture == "ARM64: to measure it: 0 of 8 encodes are known"


@pytest.mark.parametrize("labels", [{"cloudburst.protocol": "other"}, "protocol 9"])
async def test_a_definition_that_cannot_be_used_is_left_out(labels):
    if labels == "protocol 9":
        labels = {"cloudburst.protocol": "native", "cloudburst.protocol-version": "9"}
    with account() as emulator:
        family = settings_of(emulator).task_definition
        emulator.register(
            family=f"{family}-arm64", architecture="ARM64", container={"dockerLabels": labels}
        )
        async with opened(auto(emulator)) as backend:
            assert backend.architecture == "X86_64: no other task definition exists"


async def test_a_family_with_the_same_architecture_is_left_out():
    with account() as emulator:
        settings = settings_of(emulator)
        emulator.register(family=f"{settings.task_definition}-arm64", architecture="X86_64")
        async with open_aws(settings) as aws:
            named = await describe_task_definition(aws, settings.task_definition, protocol=None)
            assert await describe_other_architectures(aws, settings, named) == []


async def test_a_definition_that_may_not_be_read_is_left_out():
    with account() as emulator:
        settings = settings_of(emulator)
        emulator.register(family=f"{settings.task_definition}-arm64", architecture="ARM64")
        async with open_aws(settings) as aws:
            named = await describe_task_definition(aws, settings.task_definition, protocol=None)
            emulator.add_fault(
                Fault(operation="DescribeTaskDefinition", code="AccessDeniedException", times=9)
            )
            assert await describe_other_architectures(aws, settings, named) == []


async def test_a_revision_leaves_no_choice():
    with account() as emulator:
        settings = auto(emulator)
        pinned = settings.model_copy(update={"task_definition": f"{settings.task_definition}:1"})
        with pytest.raises(ConfigurationError, match="name a family without account and revision"):
            async with opened(pinned):
                pass


async def test_runs_measure_both_and_their_reports_give_the_reason(make_scene, tmp_path):
    with account(image_platforms={"betashow/*": ("X86_64", "ARM64")}) as emulator:
        settings = auto(emulator)
        emulator.register(family=f"{settings.task_definition}-arm64", architecture="ARM64")
        scenes = [make_scene(f"s{number}", seconds=0.2) for number in range(SAMPLES)]
        for number, expected in enumerate(("X86_64", "ARM64")):
            async with Client(fargate(settings)) as client:
                report = await client.render_all(scenes, to=tmp_path / str(number))
            assert len(report.videos) == SAMPLES
            assert report.architecture == f"{expected}: to measure it: 0 of 8 encodes are known"
        kinds = {each.kind for each in read_history() if each.measure == "encode"}
        assert len(kinds) == 2
        async with Client(fargate(settings)) as client:
            report = await client.render_all(scenes[:1], to=tmp_path / "cheaper")
        assert report.architecture is not None
        assert ": an hour of work costs $" in report.architecture


async def test_without_the_setting_nothing_more_is_asked():
    with account() as emulator:
        async with opened(settings_of(emulator)) as backend:
            assert backend.architecture is None
        assert count(emulator, "DescribeTaskDefinition") == 1
