"""Each policy of a session reaches its servers only; none can stand for another one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from pydantic import SecretStr

from cloudburst.inputs.remote_readers import open_https_reader
from cloudburst.jobs.webhooks import delivery
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import HttpsUrl
from cloudburst.models.settings import Settings
from cloudburst.models.transfers import FetchRequest, TransferProblem
from cloudburst.net.network import ForbiddenAddressError
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.http import Credentials, TransferPolicy
from cloudburst.net.session import (
    AWS_PAGES,
    PUBLIC_URLS,
    REGISTRIES,
    TRUSTED_URLS,
    WORKERS,
    SessionPolicy,
    open_session,
)
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.fetch import fetch
from cloudburst.service.transfers import open_transfers
from cloudburst.workers.http.certificates import new_secrets
from cloudburst.workers.http.connection import open_connection

pytestmark = [pytest.mark.anyio, pytest.mark.real]

POLICIES = {
    "workers": WORKERS,
    "public": PUBLIC_URLS,
    "trusted": TRUSTED_URLS,
    "registries": REGISTRIES,
    "AWS": AWS_PAGES,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Server:
    """Server on loopback that redirects ``/away`` to another server on loopback."""

    url: str = ""
    away: str = ""
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            try:
                while head := await stream.receive():
                    self.heads.append(head)
                    if b" /away" in head.partition(b"\r\n")[0]:
                        answer = f"HTTP/1.1 307 Away\r\nLocation: {self.away}/\r\n"
                    else:
                        answer = "HTTP/1.1 200 OK\r\n"
                    await stream.send(f"{answer}Content-Length: 0\r\n\r\n".encode())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass


@asynccontextmanager
async def two_servers() -> AsyncGenerator[tuple[Server, Server]]:
    first, second = Server(), Server()
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        for server in (second, first):
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            await stack.enter_async_context(listener)
            tasks.start_soon(listener.serve, server.serve)
            server.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        first.away = second.url
        yield first, second
        tasks.cancel_scope.cancel()


async def status(policy: SessionPolicy, url: str, **headers: str) -> int | str:
    """Return the status of an answer, or why there is none."""

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["169.254.169.254" if "metadata" in url else "127.0.0.1"]

    try:
        async with open_session(policy, resolve=resolve, timeouts=5) as client:
            return (await client.get(url, headers=headers)).status_code
    except ForbiddenAddressError:
        return "forbidden"
    except httpx.ConnectError:
        return "no connection"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("workers", 200),
        ("public", "forbidden"),
        ("trusted", 200),
        ("registries", 200),
        ("AWS", 200),
    ],
)
async def test_loopback_address_is_reached_by_all_but_the_public_policy(name, found):
    async with two_servers() as (server, _):
        assert await status(POLICIES[name], server.url) == found


@pytest.mark.parametrize("name", ["public", "trusted"])
async def test_name_of_a_metadata_service_is_never_reached(name):
    assert await status(POLICIES[name], "http://metadata.example:1/") == "forbidden"


@pytest.mark.parametrize("name", POLICIES)
async def test_redirect_is_followed_by_registries_only_and_without_the_login(name):
    policy = replace(POLICIES[name], addresses=WORKERS.addresses)
    async with two_servers() as (server, other):
        found = await status(policy, f"{server.url}/away", Authorization="Basic secret")
        assert found == (200 if name == "registries" else 307)
    assert len(other.heads) == (name == "registries")
    assert b"secret" not in b"".join(other.heads)
    assert b"Basic secret" in server.heads[0]


@pytest.mark.parametrize("name", POLICIES)
async def test_proxy_of_the_environment_is_used_for_registries_and_aws_only(monkeypatch, name):
    policy = replace(POLICIES[name], addresses=WORKERS.addresses)
    async with two_servers() as (server, proxy):
        for variable in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(variable, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert await status(policy, server.url) == 200
        assert len(proxy.heads) == (name in {"registries", "AWS"})


# What uses a session uses the right policy.


async def test_worker_is_reached_on_loopback_and_no_redirect_gets_its_key():
    async with two_servers() as (server, other):
        secrets = new_secrets()
        secrets = replace(secrets, certificate="", private_key="")
        async with open_connection(
            server.url, secrets=secrets, timeouts=Timeouts(silence=5), transport=None
        ) as connection:
            assert (await connection.request("GET", "/away")).status == 307
    assert secrets.key.encode() in server.heads[0]
    assert other.heads == []


async def test_worker_with_another_certificate_is_not_reached():
    async with open_connection(
        "https://127.0.0.1:1", secrets=new_secrets(), timeouts=Timeouts(silence=5), transport=None
    ) as connection:
        pool = connection.http_client._transport._pool  # type: ignore[attr-defined]
        context: ssl.SSLContext = pool._ssl_context
    assert len(context.get_ca_certs()) + len(context.cert_store_stats()) > 0
    assert context.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(("private", "found"), [(False, "forbidden address"), (True, "unreach")])
async def test_input_that_a_caller_names_is_public_unless_the_user_permits_more(private, found):
    async with open_https_reader(Settings(private_inputs=private)) as reader:
        with pytest.raises(InvalidInputError, match=found):
            await reader.read(HttpsUrl("https://127.0.0.1:1/a.png"), 0, 1)


@pytest.mark.parametrize("public_only", [True, False])
async def test_worker_fetches_what_callers_name_from_public_addresses_only(public_only):
    async def write(_: bytes) -> None:
        raise AssertionError

    async with open_transfers() as transfers:
        client = await transfers.client(public_only=public_only)
        request = FetchRequest(
            url=SecretStr("https://127.0.0.1:1/"), max_bytes=1, public_only=public_only
        )
        with pytest.raises(TransferError) as caught:
            await fetch(request, write, client=client)
    forbidden = caught.value.failure.problem is TransferProblem.FORBIDDEN_ADDRESS
    assert forbidden is public_only


async def test_presigned_url_is_not_redirected():
    async def write(_: bytes) -> None:
        raise AssertionError

    async with two_servers() as (server, other), open_transfers() as transfers:
        request = FetchRequest(
            url=SecretStr(f"{server.url}/away?X=secret"), max_bytes=1, public_only=False
        )
        with pytest.raises(TransferError, match="redirects are not followed"):
            await fetch(request, write, client=await transfers.client(public_only=False))
    assert other.heads == []


async def test_webhooks_of_jobs_get_the_public_policy_and_those_of_the_application_the_trusted():
    opened = []

    @asynccontextmanager
    async def open_client(policy):
        opened.append(policy)
        yield policy

    sender = delivery.MessageSender(
        None, None, open_client=open_client, policy=delivery.DEFAULT_POLICY
    )
    async with delivery.AsyncExitStack() as stack:
        clients = await sender._open_clients(stack)
    assert clients == {False: PUBLIC_URLS, True: TRUSTED_URLS}


async def test_registry_redirects_a_blob_to_storage_without_the_login(tmp_path: Path):
    async with two_servers() as (server, other):
        policy = TransferPolicy(attempts=1)
        async with open_registry(server.url, Credentials("u", "p"), policy=policy) as client:
            client._http._login._headers["x"] = "Basic secret"
            async with client._http.stream("GET", "/away", "x") as answer:
                assert answer.status_code == 200
    assert b"Basic secret" in server.heads[0]
    assert len(other.heads) == 1
    assert b"secret" not in other.heads[0]


async def test_connection_made_while_the_session_closes_is_closed() -> None:
    asked, closed, left = anyio.Event(), anyio.Event(), []

    async def resolve(_host: str, _port: int) -> list[str]:
        asked.set()
        await closed.wait()
        return ["127.0.0.1"]

    async def get(client: httpx.AsyncClient, url: str) -> None:
        try:
            response = await client.get(url)
            left.append(response.extensions["network_stream"])
        except httpx.RequestError:
            pass

    async with two_servers() as (server, _), anyio.create_task_group() as tasks:
        async with open_session(TRUSTED_URLS, resolve=resolve, timeouts=5) as client:
            tasks.start_soon(get, client, server.url)
            await asked.wait()
        closed.set()
    assert not left
