"""AWS as this package asks it: governed, repeated where that is safe, with errors of our own."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aioboto3
import anyio
import anyio.to_thread

from cloudburst.adapters.aws.clients import Clients
from cloudburst.adapters.aws.credentials import REGION, session_as, session_of, wants_role
from cloudburst.adapters.aws.governor import Governor
from cloudburst.adapters.aws.refusals import code_of, translated
from cloudburst.errors import (
    ClosedError,
    ConfigurationError,
    CredentialsError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.models.failures import EXPIRED
from cloudburst.models.policy import Backoff
from cloudburst.models.settings import Settings

logger = logging.getLogger(__name__)

ATTEMPTS = 4
"""Calls for one question at most, where it may be asked again."""
AGAIN = Backoff(first=0.5, factor=2.0, cap=5.0)
RENEWAL = 60.0
"""Seconds between two attempts to find credentials that have not expired."""

_ONCE = frozenset({"run_task", "stop_task"})
"""The engine repeats these, with deadlines of its own."""
_HARMLESS = ("assume_role", "describe_", "filter_", "get_", "list_", "simulate_")
"""What changes nothing may be asked again although it may have been answered."""
_MARKERS = {"nextToken": "nextToken", "NextToken": "NextToken", "Marker": "Marker"}
"""How an answer names the next page, and the request for it: ECS and logs, EC2 and most others,
IAM."""


class AWS:
    """One account in one region. Calls may be made from any number of tasks of one event loop."""

    def __init__(
        self,
        session: aioboto3.Session,
        *,
        region: str,
        endpoint_url: str | None,
        renew: Callable[[], aioboto3.Session] | None = None,
    ) -> None:
        self.region = region
        self.endpoint_url = endpoint_url
        self.governor = Governor()
        self._renew = renew
        self._renewed = -math.inf
        self._renewal = anyio.Lock()
        self._clients: Clients | None = self._clients_of(session)
        self._account: str | None = None

    async def call(
        self,
        service: str,
        operation: str,
        *,
        in_region: str | None = None,
        patience: float = math.inf,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Ask ``service`` (``ecs``…) for ``operation`` (``run_task``…) and return the answer.

        Questions that change nothing are repeated a few times while there is no answer, and all
        but RunTask and StopTask while AWS asks for patience.

        Args:
            service: boto's name for it.
            operation: The method of boto's client.
            in_region: In place of this account's region, for services that are not everywhere.
            patience: Seconds to wait for a turn; where it would be more, nothing is asked and
                `ThrottledError` raised.
            parameters: What the method takes.

        Raises:
            ThrottledError: AWS asks for patience.
            NoAnswerError: There is no answer: it may have been done or not.
            CredentialsError: There are no credentials, or AWS does not take them.
            AccessDeniedError: They may not do this.
            ResourceMissingError: Something that the call names is not there.
            CapacityError: RunTask only: there is no room now.
            LaunchError: RunTask only: any other refusal.
            AWSError: Any other refusal of anything else; ``code`` is AWS's.
            ClosedError: `open_aws` was left.
        """
        attempts = 1 if operation in _ONCE else ATTEMPTS
        for attempt, delay in enumerate(AGAIN.delays(), start=1):
            await self.governor.admit(service, operation, parameters, patience=patience)
            try:
                return await self._ask(service, operation, parameters, in_region)
            except ThrottledError:
                self.governor.throttled(service, operation, parameters)
                if attempt >= attempts:
                    raise
            except NoAnswerError:
                if attempt >= attempts or not operation.startswith(_HARMLESS):
                    raise
            logger.debug("%s: asking again in %.1f s", operation, delay)
            await anyio.sleep(delay)
        raise AssertionError("unreachable: delays() never ends")

    async def pages(self, service: str, operation: str, key: str, **parameters: Any) -> list[Any]:
        """What all pages of an answer hold under ``key``. Raises as `call` does."""
        items: list[Any] = []
        page: dict[str, Any] = {}
        while True:
            answer = await self.call(service, operation, **{**parameters, **page})
            items += answer.get(key, ())
            page = {of: answer[name] for name, of in _MARKERS.items() if answer.get(name)}
            if not page:
                return items

    async def account(self) -> str:
        """The number of the account. Raises as `call` does."""
        if self._account is None:
            answer = await self.call("sts", "get_caller_identity")
            self._account = str(answer["Account"])
        return self._account

    async def close(self) -> None:
        """End calls that go on, and take no more."""
        clients, self._clients = self._clients, None
        if clients is not None:
            await clients.retire()

    async def _ask(
        self, service: str, operation: str, parameters: dict[str, Any], region: str | None
    ) -> dict[str, Any]:
        clients = self._living()
        try:
            with translated(operation):
                return await clients.call(service, operation, parameters, region=region)
        except CredentialsError as exc:
            if not EXPIRED.fits(code_of(exc)) or not await self._has_new(clients):
                raise
        with translated(operation):  # nothing was done: who we are is looked at first
            return await self._living().call(service, operation, parameters, region=region)

    async def _has_new(self, expired: Clients) -> bool:
        """Whether there are other credentials than those that have expired."""
        async with self._renewal:
            if self._clients is not expired:
                return True  # somebody else has found them meanwhile
            now = anyio.current_time()
            if self._renew is None or now < self._renewed + RENEWAL:
                return False
            self._renewed = now
            logger.info("the credentials have expired: looking for newer ones")
            with translated("credentials"):
                session = await anyio.to_thread.run_sync(self._renew)
            if self._clients is expired:
                self._clients = self._clients_of(session)
                await expired.retire()
            return True

    def _clients_of(self, session: aioboto3.Session) -> Clients:
        return Clients(session, region=self.region, endpoint_url=self.endpoint_url)

    def _living(self) -> Clients:
        if self._clients is None:
            raise ClosedError("AWS is asked after it was closed")
        return self._clients


@asynccontextmanager
async def open_aws(settings: Settings, *, session: Any = None) -> AsyncGenerator[AWS]:
    """AWS with the credentials, the region and the endpoint of the settings. Asks nothing yet.

    Args:
        settings: With ``role_arn``, that role is assumed, and assumed again before it ends; where
            that fails, calls raise `CredentialsError`.
        session: An ``aioboto3.Session`` in place of the settings' keys, profile and role.

    Raises:
        CredentialsError: The profile is not there, or boto's configuration is wrong.
        ConfigurationError: The event loop is trio's.
    """
    _needs_asyncio()
    theirs = session is not None
    with translated("credentials"):
        if session is None:
            session = await anyio.to_thread.run_sync(session_of, settings)
        region = settings.region or session.region_name or REGION
    role = wants_role(settings) and not theirs
    fixed = theirs or settings.access_key_id is not None
    base = AWS(
        session,
        region=region,
        endpoint_url=settings.endpoint_url,
        renew=None if fixed else partial(session_of, settings),
    )
    aws = base
    try:
        if role:
            renew = partial(session_as, settings, base.call)
            aws = AWS(
                await anyio.to_thread.run_sync(renew),
                region=region,
                endpoint_url=settings.endpoint_url,
                renew=renew,
            )
        yield aws
    finally:
        await aws.close()
        await base.close()


def _needs_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        msg = "AWS is asked with aioboto3, which needs asyncio: use it in place of trio"
        raise ConfigurationError(msg) from None
