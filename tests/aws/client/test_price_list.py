from __future__ import annotations

import datetime as dt
import json
import logging
from decimal import ROUND_HALF_UP, Decimal

import httpx
import pytest
from pydantic import ValidationError

from cloudburst.aws.client.price_list import load_prices, prices_file, save_prices, update_prices
from cloudburst.aws.setup.price_refresh import refresh_prices
from cloudburst.errors import AccessDeniedError, AWSError, ConfigurationError
from cloudburst.models.prices import IPV4_USD_PER_SECOND, US_EAST_1_RATES, PriceTable
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from support.price_list import US, price_list, product

pytestmark = pytest.mark.anyio

TODAY = dt.date(2030, 1, 2)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def euro(usage: str, price: str) -> str:
    return product(f"EUC1-{usage}", price, region="eu-central-1")


EU = [
    euro("Fargate-vCPU-Hours:perCPU", "0.0600000000"),
    euro("Fargate-GB-Hours", "0.0060000000"),
    euro("Fargate-EphemeralStorage-GB-Hours", "0.0003000000"),
]


async def test_rates_of_us_east_1_are_those_of_aws_page_by_the_hour():
    table = await load_prices()
    assert table.rates("us-east-1") == US_EAST_1_RATES
    arm = table.rates("us-east-1", architecture="ARM64")
    assert (arm.vcpu * 3600, arm.memory_gb * 3600) == (Decimal("0.03238"), Decimal("0.00356"))
    assert round(arm.disk_gb * 3600, 20) == Decimal("0.000111")
    hour = table.rates("us-east-1").task_usd_per_second(Tier.STANDARD, public_ipv4=False) * 3600
    assert hour.quantize(Decimal("0.0001"), ROUND_HALF_UP) == Decimal("0.0987")


async def test_every_rate_by_the_second_gives_the_price_by_the_hour_again():
    table = await load_prices()
    assert len(table.regions) > 20
    for name, prices in table.regions.items():
        for architecture, hour in (("X86_64", prices.x86), ("ARM64", prices.arm)):
            if hour is None:
                continue
            rates = table.rates(name, architecture=architecture)
            for second, by_hour in ((rates.vcpu, hour.vcpu), (rates.memory_gb, hour.memory_gb)):
                assert round(second * 3600, 20) == by_hour, name
        assert prices.source.startswith("https://")


async def test_spot_is_about_68_percent_off_but_disk_and_addresses_are_not():
    table = await load_prices()
    spot, full = table.rates("us-east-1", capacity="FARGATE_SPOT"), table.rates("us-east-1")
    assert abs(spot.vcpu * 3600 - Decimal("0.01288871")) < Decimal("0.00001")
    assert abs(spot.memory_gb * 3600 - Decimal("0.00141527")) < Decimal("0.000001")
    assert round(1 - spot.vcpu / full.vcpu, 2) == Decimal("0.68")
    arm = table.rates("us-east-1", architecture="ARM64", capacity="FARGATE_SPOT")
    assert abs(arm.vcpu * 3600 - Decimal("0.01030969")) < Decimal("0.00001")
    assert abs(arm.memory_gb * 3600 - Decimal("0.00113349")) < Decimal("0.000001")
    assert (spot.disk_gb, spot.ipv4) == (full.disk_gb, IPV4_USD_PER_SECOND)


async def test_spot_of_a_region_is_its_own_or_assumed():
    table = await load_prices()
    ireland = table.rates("eu-west-1", capacity="FARGATE_SPOT")
    assert round(ireland.vcpu * 3600, 5) == Decimal("0.01224")
    assert (table.has_spot("eu-west-1"), table.has_spot("eu-west-3")) == (True, False)
    paris = table.rates("eu-west-3", capacity="FARGATE_SPOT")
    assert paris.vcpu * 3600 == table.regions["eu-west-3"].x86.vcpu * table.spot_factor


def spot_feed(**vcpu: str) -> str:
    """Return the JSON from which AWS's pricing page reads Spot prices."""
    return json.dumps(
        {
            "prices": [
                {
                    "unit": unit,
                    "price": {"USD": price if unit == "vCPU-Hours" else "0.001"},
                    "attributes": {"aws:region": region.replace("_", "-")},
                }
                for region, price in vcpu.items()
                for unit in ("GB-Hours", "vCPU-Hours", "ARM-vCPU-Hours")
            ]
        }
    )


def answering(text: str, status: int = 200) -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(status, text=text))


async def test_a_refresh_reads_the_spot_prices_of_each_region():
    feed = spot_feed(us_east_1="0.010120", us_west_2="0.020240", xx_moon_1="9")
    products = [one.replace('"0.0500000000"', '"0.0404800000"') for one in US]
    with price_list(products) as (environment, _):
        settings = Settings(_env_file=None, **environment)
        table = await refresh_prices(settings, transport=answering(feed))
    assert table.rates("us-east-1", capacity="FARGATE_SPOT").vcpu == Decimal("0.01012") / 3600
    assert table.regions["us-west-2"].spot_factor == Decimal("0.5")
    assert table.regions["eu-west-1"].spot_factor == Decimal("0.3024")  # as it was
    assert (table.spot_factor, table.spot_date) == (Decimal("0.25"), table.date.isoformat())
    assert await load_prices() == table


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 503),
        ("<html>", 200),
        ("[]", 200),
        (spot_feed(eu_west_1="0.01"), 200),
        (spot_feed(us_east_1="-1"), 200),
        (spot_feed(us_east_1="0.06"), 200),
    ],
)
async def test_spot_prices_that_cannot_be_read_stay_and_the_others_are_refreshed(
    caplog, text, status
):
    before = await load_prices()
    with price_list(US) as (environment, _):
        settings = Settings(_env_file=None, **environment)
        table = await refresh_prices(settings, transport=answering(text, status))
    assert table.spot_factor == before.spot_factor
    assert table.regions["us-east-1"].source == "AWS Price List API, AmazonECS"
    assert "the Spot prices stay as they were (2026-09)" in caplog.text


async def test_an_unknown_region_gets_assumed_rates_and_says_so():
    table = await load_prices()
    assert table.has_region("eu-central-1")
    assert table.rates("eu-central-1").vcpu > US_EAST_1_RATES.vcpu
    assert not table.has_region("xx-moon-1")
    assert table.rates("xx-moon-1") == US_EAST_1_RATES
    # What ARM costs there is not known, and what x86 costs there is not what it costs.
    assert not table.has_region("eu-central-1", architecture="ARM64")
    assumed = table.rates("eu-central-1", architecture="ARM64")
    assert assumed == table.rates("us-east-1", architecture="ARM64")


async def test_a_refresh_takes_linux_on_demand_and_nothing_else():
    table = update_prices(await load_prices(), [*US, *EU], today=TODAY, needed="eu-central-1")
    assert table.date == TODAY
    us, eu = table.regions["us-east-1"], table.regions["eu-central-1"]
    assert (us.x86.vcpu, us.x86.memory_gb) == (Decimal("0.05"), Decimal("0.005"))
    assert us.arm is not None
    assert (us.arm.vcpu, us.arm.memory_gb, us.disk_gb) == (
        Decimal("0.04"),
        Decimal("0.004"),
        Decimal("0.0002"),
    )
    assert (eu.x86.vcpu, eu.arm, eu.date) == (Decimal("0.06"), None, "2030-01-02")
    assert table.regions["sa-east-1"].date == "2021"
    assert table.spot_factor == (await load_prices()).spot_factor


async def test_names_without_a_prefix_are_of_the_region_that_they_name():
    old = [text.replace("USE1-Fargate", "Fargate") for text in US]
    table = update_prices(await load_prices(), old, today=TODAY)
    assert table.regions["us-east-1"].x86.vcpu == Decimal("0.05")


@pytest.mark.parametrize(
    ("products", "needed", "said"),
    [
        ([], "us-east-1", "not all prices of us-east-1"),
        (EU, "eu-central-1", "not all prices of us-east-1"),
        (US, "eu-central-1", "not all prices of eu-central-1"),
        ([*US, *EU[:2]], "eu-central-1", "not all prices of eu-central-1"),
        ([*US, *EU[1:], euro("Fargate-vCPU-Hours:perCPU", "60")], "eu-central-1", "less than 0.4"),
        ([*US, *EU[1:], euro("Fargate-vCPU-Hours:perCPU", "0")], "eu-central-1", "greater than"),
        ([*US, EU[0].replace('"USD"', '"CNY"')], "us-east-1", "USD"),
        (["no json"], "us-east-1", "JSONDecodeError"),
        ([US[0].replace("pricePerUnit", "price")], "us-east-1", "pricePerUnit"),
        ([US[0].replace('"USD"', '"CNY"')], "us-east-1", "USD"),
        ([US[0].replace("0.0500000000", "cheap")], "us-east-1", "InvalidOperation"),
    ],
)
async def test_a_list_that_is_not_as_expected_is_refused(products, needed, said):
    with pytest.raises(AWSError, match=said) as caught:
        update_prices(await load_prices(), products, today=TODAY, needed=needed)
    assert caught.value.code == "PriceList"


@pytest.mark.parametrize("odd", [EU[:1], EU[1:]])
async def test_a_region_elsewhere_of_which_prices_are_missing_stays_as_it_was(odd):
    before = await load_prices()
    table = update_prices(before, [*odd, *US], today=TODAY)
    assert table.regions["eu-central-1"] == before.regions["eu-central-1"]
    assert table.regions["us-east-1"].x86.vcpu == Decimal("0.05")


async def test_a_newer_table_of_the_user_wins_and_an_older_one_does_not(state):
    ours = await load_prices()
    path = await save_prices(update_prices(ours, US, today=TODAY))
    assert path == prices_file() == state / "cloudburst" / "prices.json"
    assert [entry.name for entry in path.parent.iterdir()] == ["prices.json"]
    theirs = await load_prices()
    assert (theirs.date, theirs.rates("us-east-1").vcpu) == (TODAY, Decimal("0.05") / 3600)
    await save_prices(update_prices(ours, US, today=ours.date))
    assert (await load_prices()).rates("us-east-1").vcpu == Decimal("0.05") / 3600
    await save_prices(update_prices(ours, US, today=dt.date(2020, 1, 1)))
    assert await load_prices() == ours


@pytest.mark.parametrize("text", ["", "{", "{}", '{"date": "2031-01-01"}'])
async def test_a_broken_table_of_the_user_is_told_and_not_used(text, caplog):
    ours = await load_prices()
    await save_prices(ours)
    prices_file().write_text(text)
    with caplog.at_level(logging.WARNING, "cloudburst"):
        assert await load_prices() == ours
    assert "cannot be used" in caplog.text


async def test_a_table_that_cannot_be_written_is_an_error(state):
    await save_prices(await load_prices())
    prices_file().unlink()
    prices_file().mkdir()
    with pytest.raises(OSError, match=r"prices\.json"):
        await save_prices(await load_prices())


def test_a_misread_figure_is_no_price():
    with pytest.raises(ValidationError):
        PriceTable.model_validate(
            {
                "date": "2026-01-01",
                "spot_factor": "0.3",
                "spot_date": "2026",
                "spot_source": "",
                "regions": {
                    "us-east-1": {
                        "date": "2026",
                        "source": "",
                        "x86": {"vcpu": "0.000011244", "memory_gb": "0.004445"},  # by the second
                    }
                },
            }
        )


async def test_a_refresh_from_aws_is_kept_and_takes_as_many_pages_as_there_are():
    with price_list(US) as (environment, asked):
        table = await refresh_prices(Settings(_env_file=None, **environment))
    assert asked == [None, "2", "4", "6", "8"]
    fresh = table.regions["us-east-1"]
    assert (fresh.x86.vcpu, fresh.disk_gb) == (Decimal("0.05"), Decimal("0.0002"))
    assert (fresh.date, fresh.source) == (table.date.isoformat(), "AWS Price List API, AmazonECS")
    assert await load_prices() == table
    assert table.rates("us-east-1").vcpu == Decimal("0.05") / 3600


async def test_a_refresh_that_fails_leaves_what_there_was(state):
    with price_list(()) as (environment, _), pytest.raises(AccessDeniedError):
        await refresh_prices(Settings(_env_file=None, **environment))
    with price_list(US) as (environment, _):
        elsewhere = environment | {"AWS_REGION": "eu-central-1"}
        with pytest.raises(AWSError, match="not all prices of eu-central-1"):
            await refresh_prices(Settings(_env_file=None, **elsewhere))
        assert not prices_file().exists()
        (state / "cloudburst").write_text("in the way")
        with pytest.raises(ConfigurationError, match="cannot be saved"):
            await refresh_prices(Settings(_env_file=None, **environment))
