"""Addresses to which a URL may lead, and names that change theirs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Any

import anyio
import httpcore
import pytest
from pydantic import SecretStr

from cloudburst.models.transfers import FetchRequest, TransferProblem
from cloudburst.net.network import ForbiddenAddressError, PinnedBackend, is_permitted, resolve_name
from cloudburst.net.session import PUBLIC_URLS, TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.fetch import fetch

pytestmark = pytest.mark.anyio

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
PRIVATE = [
    *("10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "127.0.0.1", "127.8.9.10"),
    *("::1", "fd12::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
]
NEVER = [
    *("169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "fd00:ec2::254"),
    *("fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("192.0.0.8", "192.0.0.9", "3fff::1", "3fff:fff:ffff::1"),
    *("0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.1.1.1", "ff02::1", "240.0.0.1"),
    *("255.255.255.255", "192.0.2.1", "198.18.0.1", "2001:db8::1", "100::1", "fec0::1"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "::169.254.169.254"),
    *("2002:a9fe:a9fe::1", "2001:0:1:2:3:4:5:6", "::127.0.0.1", "::ffff:0.0.0.0", "", "x"),
]


async def test_which_addresses_are_permitted() -> None:
    addresses = (*PUBLIC, *PRIVATE, *NEVER)
    assert [a for a in addresses if is_permitted(a, private=False)] == PUBLIC
    assert [a for a in addresses if is_permitted(a, private=True)] == [*PUBLIC, *PRIVATE]


class Network(httpcore.AsyncNetworkBackend):
    """Notes to which addresses connections are made, and accepts some."""

    def __init__(self, *accepting: str) -> None:
        self.asked: list[str] = []
        self._accepting = accepting

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> Any:
        self.asked.append(host)
        if host in self._accepting:
            return object()
        raise httpcore.ConnectError("refused")


async def test_a_name_that_resolves_to_another_address_later() -> None:
    """Each connection is made to an address that was checked, not to a name."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    network = Network("93.184.216.34")
    backend = PinnedBackend(private=False, resolve=resolve, inner=network)
    await backend.connect_tcp("files.example", 443, 1.0)
    with pytest.raises(
        ForbiddenAddressError, match=r"files\.example has an address that is not public"
    ):
        await backend.connect_tcp("files.example", 443, 1.0)
    assert network.asked == ["93.184.216.34"]


async def test_one_address_that_is_not_public_is_enough() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.216.34", "10.0.0.1"]

    network = Network("93.184.216.34")
    backend = PinnedBackend(private=False, resolve=resolve, inner=network)
    with pytest.raises(ForbiddenAddressError, match="that is not public"):
        await backend.connect_tcp("files.example", 443, 1.0)
    assert network.asked == []


async def test_addresses_are_tried_in_turn_and_not_without_end() -> None:
    addresses = [f"93.184.216.{n}" for n in range(100)]

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    network = Network("93.184.216.3")
    await PinnedBackend(private=False, resolve=resolve, inner=network).connect_tcp("a", 443, 1.0)
    assert network.asked == addresses[:4]
    network = Network()
    with pytest.raises(httpcore.ConnectError, match="refused"):
        await PinnedBackend(private=False, resolve=resolve, inner=network).connect_tcp("a", 1, None)
    assert network.asked == addresses[:8]


async def test_a_failed_connection_has_the_reason_of_the_operating_system() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: nothing else can listen there
        backend = PinnedBackend(private=True, resolve=resolve)
        with pytest.raises(httpcore.ConnectError, match="Connection refused"):
            await backend.connect_tcp("hooks.example", unused.getsockname()[1], 5)


async def test_a_name_that_does_not_resolve_or_not_in_time() -> None:
    async def fail(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def hang(_host: str, _port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        raise AssertionError

    network = Network()
    with pytest.raises(httpcore.ConnectError, match="cannot be resolved"):
        await PinnedBackend(private=False, resolve=fail, inner=network).connect_tcp("a", 1, 1.0)
    with pytest.raises(httpcore.ConnectTimeout, match="lookup of the name"):
        await PinnedBackend(private=False, resolve=hang, inner=network).connect_tcp("a", 1, 0.05)
    assert network.asked == []


LEADS_AWAY = {
    "https://127.0.0.1:1/": "forbidden address",
    "https://2130706433:1/": "forbidden address",
    "https://0x7f.1:1/": "forbidden address",
    "https://[::1]:1/": "forbidden address",
    "https://[::ffff:169.254.169.254]/": "forbidden address",
    "https://169.254.169.254/latest/meta-data/": "forbidden address",
    "http://93.184.216.34/": "forbidden address",
    "http://localhost:1/": "forbidden address",
    "file:///etc/passwd": "invalid",
    "ftp://93.184.216.34/": "invalid",
    "https://user:password@files.example/": "invalid",
    "https://files.example/a b": "invalid",
    "https://files.example/\r\nX: y": "invalid",
    "https://files.example/#part": "invalid",
    "https://files.example:99999/": "invalid",
    "https://files.example:x/": "invalid",
    "https://[::1/": "invalid",
    "https://": "invalid",
    "//files.example/": "invalid",
    "https://xn--\udcff/": "invalid",
    "": "invalid",
}


async def test_urls_that_lead_away_or_nowhere() -> None:
    async def write(_: bytes) -> None:
        raise AssertionError

    async with open_session(PUBLIC_URLS) as client:
        for url, problem in LEADS_AWAY.items():
            request = FetchRequest.model_construct(url=SecretStr(url), max_bytes=10)
            with pytest.raises(TransferError) as caught:
                await fetch(request, write, client=client)
            assert caught.value.failure.problem == problem, (url, str(caught.value))


async def test_urls_that_are_not_trusted_need_https_even_on_this_machine() -> None:
    """Also if private addresses are permitted."""
    async with open_session(TRUSTED_URLS) as client:
        for url in ("http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/"):
            request = FetchRequest.model_validate({"url": url, "max_bytes": 1})
            with pytest.raises(TransferError, match="scheme http"):
                await fetch(request, print, client=client)  # type: ignore[arg-type]


async def test_trusted_urls_lead_to_private_addresses_but_never_to_metadata() -> None:
    """Signed URLs lead to an S3 endpoint on this machine or in a VPC."""

    async def problem(url: str) -> TransferProblem:
        request = FetchRequest.model_validate({"url": url, "max_bytes": 1, "public_only": False})
        with pytest.raises(TransferError) as caught:
            await fetch(request, print, client=client)  # type: ignore[arg-type]
        return caught.value.failure.problem

    async with open_session(TRUSTED_URLS) as client:
        assert await problem("http://127.0.0.1:1/key") is TransferProblem.UNREACHABLE
        assert await problem("http://localhost:1/key") is TransferProblem.UNREACHABLE
        assert await problem("https://127.0.0.1:1/key") is TransferProblem.UNREACHABLE
        assert await problem("http://10.0.0.1/key") is TransferProblem.FORBIDDEN_ADDRESS
        assert await problem("http://169.254.169.254/") is TransferProblem.FORBIDDEN_ADDRESS
        assert await problem("https://169.254.169.254/") is TransferProblem.FORBIDDEN_ADDRESS


async def test_names_without_an_answer_do_not_delay_other_lookups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end, found = threading.Event(), socket.getaddrinfo

    def look_up(host: str | bytes, *more: Any, **options: Any) -> Any:
        if "silent" in str(host):
            end.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return found(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def search(number: int) -> None:
        with anyio.move_on_after(0.1):
            await resolve_name(f"silent{number}.example", 443)

    try:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(search, number)
        with anyio.fail_after(30):
            assert await anyio.getaddrinfo("127.0.0.1", 80)
            assert await resolve_name("127.0.0.1", 80) == ["127.0.0.1"]
    finally:
        end.set()
