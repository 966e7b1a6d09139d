"""Refusals are counted per model, code, minute and network prefix: bounded, truncated, and forgotten in time."""

import asyncio
from collections import Counter

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from models import data
from service.control.verdict import Code
from service.gateway import Gateway
from service.settings import Settings
from service.usage.refusals import network_of
from service.usage.tables import RefusalCount
from tests.service.asking import Caller, another_gateway, sample
from tests.service.conftest import SetClock


async def rows(gateway: Gateway) -> list[RefusalCount]:
    await gateway.refusals.flush()
    async with gateway.sessions() as session:
        return list(await session.scalars(select(RefusalCount).order_by(RefusalCount.minute, RefusalCount.network)))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("10.255.255.255", "10.255.255.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("", "*"),
        ("a-unix-socket", "*"),
    ],
)
def test_an_address_is_kept_as_its_prefix_only(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_strangers_are_counted_by_prefix_and_minute(
    app: FastAPI, gateway: Gateway, clock: SetClock, model: str, digits: data.Dataset
) -> None:
    for address in ("192.0.2.7", "192.0.2.200", "198.51.100.1", "2001:db8:1:2::9"):
        assert (await Caller(app, address).predict([sample(digits)])).status_code == 200
    clock.advance(minutes=1)
    assert (await Caller(app, "192.0.2.7").predict([sample(digits)] * 3)).status_code == 200

    counted = [(row.minute.minute, row.model, row.code, row.network, row.count) for row in await rows(gateway)]

    assert counted == [
        (0, "digits", "NOT_FOUND", "192.0.2.0/24", 2),
        (0, "digits", "NOT_FOUND", "198.51.100.0/24", 1),
        (0, "digits", "NOT_FOUND", "2001:db8:1::/48", 1),
        (1, "digits", "NOT_FOUND", "192.0.2.0/24", 1),
    ]


class TestAtMostAHundredRowsAMinute:
    async def test_in_a_flood_from_everywhere_that_loses_no_count(self, gateway: Gateway, clock: SetClock) -> None:
        for flushes in range(4):
            flood(gateway, f"10.{flushes}")
            await gateway.refusals.flush()
        written = await rows(gateway)
        assert len(written) == 81, "the rest of the minute is one row"
        assert {row.network: row.count for row in written if row.count > 4} == {"*": 4000 - 80 * 4}
        clock.advance(minutes=1)
        gateway.refusals.count("digits", "NOT_FOUND", "10.9.9.9")
        assert (await rows(gateway))[-1].network == "10.9.9.0/24", "the next minute has room again"

    async def test_codes_are_told_apart_however_many_networks_there_are(self, gateway: Gateway) -> None:
        for code in ("NOT_FOUND", "EXPIRED", "SUSPENDED"):
            for network in range(90):
                gateway.refusals.count("digits", code, f"10.0.{network}.1")
        written = await rows(gateway)
        assert len(written) == 83
        told: Counter[str] = Counter()
        for row in written:
            told[row.code] += row.count
        assert told == {"NOT_FOUND": 90, "EXPIRED": 90, "SUSPENDED": 90}

    @pytest.mark.parametrize("networks", [1, 3])
    async def test_and_however_many_models_and_codes(self, gateway: Gateway, networks: int) -> None:
        for model in range(40):
            for code in Code:
                for network in range(networks):
                    gateway.refusals.count(f"model-{model}", code, f"10.0.{network}.1")
        written = await rows(gateway)
        assert len(written) == 100
        assert sum(row.count for row in written) == 40 * len(Code) * networks
        assert [row.network for row in written if row.model == "*"] == ["*"]

    async def test_of_each_gateway(
        self, gateway: Gateway, settings: Settings, clock: SetClock, app: FastAPI, model: str
    ) -> None:
        """They bound what each of them writes: two that see the same share rows, two that see different add up."""
        async with another_gateway(settings, clock) as other:
            for one in (gateway, other.state.gateway):
                flood(one, "10.0")
                await one.refusals.flush()
            assert len(await rows(gateway)) == 81
            clock.advance(minutes=1)
            for number, one in enumerate((gateway, other.state.gateway)):
                flood(one, f"10.{number}")
                await one.refusals.flush()
            written = [row for row in await rows(gateway) if row.minute.minute == 1]
        assert len(written) == 80 + 80 + 1
        assert sum(row.count for row in written) == 2000


def flood(gateway: Gateway, prefix: str) -> None:
    """A thousand strangers from 250 networks."""
    for host in range(1000):
        gateway.refusals.count("digits", "NOT_FOUND", f"{prefix}.{host % 250}.{host // 250}")


async def test_two_gateways_add_to_the_same_rows(
    gateway: Gateway, settings: Settings, clock: SetClock, app: FastAPI, model: str
) -> None:
    async with another_gateway(settings, clock) as other:
        both = (gateway, other.state.gateway)
        for one in both:
            one.refusals.count("digits", "NOT_FOUND", "192.0.2.1")
        await asyncio.gather(*(one.refusals.flush() for one in both))
    assert [row.count for row in await rows(gateway)] == [2]


class TestThirtyDays:
    async def test_older_rows_are_forgotten_when_others_come(self, gateway: Gateway, clock: SetClock) -> None:
        gateway.refusals.count("digits", "NOT_FOUND", "192.0.2.1")
        await gateway.refusals.flush()
        clock.advance(days=29, hours=23)
        gateway.refusals.count("digits", "NOT_FOUND", "198.51.100.1")
        assert len(await rows(gateway)) == 2
        clock.advance(hours=2)
        gateway.refusals.count("digits", "NOT_FOUND", "203.0.113.1")
        assert [row.network for row in await rows(gateway)] == ["198.51.100.0/24", "203.0.113.0/24"]

    async def test_and_also_when_nobody_comes_any_more(self, gateway: Gateway, clock: SetClock) -> None:
        gateway.refusals.count("digits", "NOT_FOUND", "192.0.2.1")
        await gateway.refusals.flush()
        clock.advance(days=30, hours=2)
        assert await rows(gateway) == []


async def test_what_could_not_be_written_down_is_written_with_the_next(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.refusals.count("digits", "NOT_FOUND", "192.0.2.1")
    with monkeypatch.context() as patched:
        patched.setattr(type(gateway.counting), "begin", _fails)
        await gateway.refusals.flush()
    gateway.refusals.count("digits", "NOT_FOUND", "192.0.2.1")
    assert [row.count for row in await rows(gateway)] == [2]


async def test_what_was_counted_is_written_down_when_the_gateway_stops(
    settings: Settings, clock: SetClock, gateway: Gateway
) -> None:
    async with another_gateway(settings, clock) as other:
        other.state.gateway.refusals.count("digits", "NOT_FOUND", "192.0.2.1")
    assert [row.count for row in await rows(gateway)] == [1]


def _fails(_: object) -> None:
    raise OSError("the database is away")
