"""Client for AWS's APIs that limits call rates, retries calls and raises this package's errors."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aioboto3
import anyio
import anyio.to_thread

from cloudburst.aws.client.boto_clients import BotoClients
from cloudburst.aws.client.credentials import (
    FALLBACK_REGION,
    check_endpoints,
    create_role_session,
    create_session,
    needs_role,
    seconds_left,
)
from cloudburst.aws.client.rate_limit import RateLimiter, capacity_of
from cloudburst.aws.client.responses import (
    checked_response,
    error_code_of,
    read_body,
    translate_errors,
)
from cloudburst.concurrency import Retries
from cloudburst.errors import (
    ClosedError,
    ConfigurationError,
    CredentialsError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.models.failures.api_errors import EXPIRED_CREDENTIALS
from cloudburst.models.limits import Backoff
from cloudburst.models.settings import Settings

logger = logging.getLogger(__name__)

CALL_BACKOFF = Backoff(first=0.5, factor=2.0, cap=5.0)
"""Delays between the attempts of one call, in seconds."""
CALL_TIMEOUT = 60.0
"""Maximum seconds from the start of a call to the end of its response, however slowly it
arrives."""
RENEWAL_INTERVAL = 60.0
"""Minimum seconds between two attempts to replace expired credentials."""
# Response members that hold the token of the next page, mapped to the request parameters that take
# this token. ECS and CloudWatch Logs use ``nextToken``, EC2 and most other services ``NextToken``,
# and IAM ``Marker``.
_PAGE_TOKENS = {"nextToken": "nextToken", "NextToken": "NextToken", "Marker": "Marker"}
MAX_ATTEMPTS = 4
"""Maximum number of times that one call is sent, if it may be repeated."""
# Operations that the client sends only once, because their callers repeat them with deadlines of
# their own.
_SENT_ONCE = frozenset({"run_task", "stop_task"})
# Prefixes of the names of operations that change nothing, so that they may be repeated even if AWS
# has already carried them out.
_READ_ONLY = ("assume_role", "describe_", "filter_", "get_", "head_", "list_", "simulate_")
# Operations that change the same if AWS carries them out twice. With a condition such as
# ``If-None-Match``, the second request is refused although the first one has succeeded: the caller
# has to read the object then.
_IDEMPOTENT = frozenset({"abort_multipart_upload", "delete_object", "put_object"})


class AWSClient:
    """Client for AWS's APIs in one account and region.

    Any number of coroutines of one event loop may share a client.
    """

    def __init__(
        self,
        session: aioboto3.Session,
        *,
        region: str,
        endpoint_url: str | None,
        s3_endpoint_url: str | None = None,
        renew: Callable[[], aioboto3.Session] | None = None,
    ) -> None:
        self.region = region
        self.endpoint_url = endpoint_url
        self._new_clients = partial(
            BotoClients, region=region, endpoint_url=endpoint_url, s3_endpoint_url=s3_endpoint_url
        )
        self._rate_limiter = RateLimiter()
        self._renew = renew
        self._renewing = anyio.Lock()
        self._renewed_at = -math.inf
        self._account: str | None = None
        clients = self._new_clients(session)
        self._clients: BotoClients | None = clients
        self._opened = [clients]

    async def call(
        self,
        service: str,
        operation: str,
        *,
        in_region: str | None = None,
        max_wait: float = math.inf,
        max_body: int = 0,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Call an operation of a service and return the response.

        A call that AWS throttles is repeated a few times. A call without an answer is repeated only
        if it changes nothing, or the same again. RunTask and StopTask are sent only once. A call
        waits at most ``max_wait`` seconds for the rate limit. A member ``Body`` is read, up to
        ``max_body`` bytes.

        Raises:
            ThrottledError: AWS throttles the call, or ``max_wait`` would be exceeded.
            NoAnswerError: There is no usable response, so the call may or may not have been carried
                out.
            CredentialsError: There are no credentials, or AWS does not accept them.
            AccessDeniedError: The credentials do not allow this call.
            ResourceMissingError: Something that the call names does not exist.
            CapacityError: RunTask only: Fargate has no capacity now.
            LaunchError: RunTask only: any other refusal.
            AWSError: Any other refusal of an operation other than RunTask; ``code`` is AWS's error
                code.
            ClosedError: The context of `open_aws` has been left.
        """
        attempts = 1 if operation in _SENT_ONCE else MAX_ATTEMPTS
        retries = Retries(CALL_BACKOFF.delays(), attempts=attempts)
        repeatable = operation.startswith(_READ_ONLY) or operation in _IDEMPOTENT
        renewed = False
        while True:
            if not renewed:
                await self._rate_limiter.acquire(operation, max_wait=max_wait)
            clients = self._open_clients()
            try:
                with translate_errors(operation, capacity=capacity_of(parameters)):
                    client = await clients.client(service, in_region)
                    return await _send_request(client, operation, parameters, max_body)
            except CredentialsError as exc:
                expired = not renewed and EXPIRED_CREDENTIALS.matches(error_code_of(exc))
                if not expired or not await self._renew_credentials(clients):
                    raise
                renewed = True  # AWS checks the credentials first, so the call was not carried out
                continue
            except ThrottledError as exc:
                self._rate_limiter.record_throttling(operation)
                await retries.wait(exc)
            except NoAnswerError as exc:
                if not repeatable:
                    raise
                await retries.wait(exc)
            renewed = False

    async def collect_pages(
        self,
        service: str,
        operation: str,
        key: str,
        *,
        in_region: str | None = None,
        **parameters: Any,
    ) -> list[Any]:
        """Call a paginated operation and return the entries of all its pages."""
        items: list[Any] = []
        token: dict[str, Any] = {}
        while True:
            response = await self.call(
                service, operation, in_region=in_region, **{**parameters, **token}
            )
            items += response[key]
            token = {
                parameter: response[member]
                for member, parameter in _PAGE_TOKENS.items()
                if response.get(member)
            }
            if not token:
                return items

    @property
    def renews_credentials(self) -> bool:
        """True if newer credentials may be found when the present ones have expired."""
        return self._renew is not None

    async def presign(
        self,
        service: str,
        operation: str,
        *,
        in_region: str | None = None,
        max_seconds: int,
        **parameters: Any,
    ) -> str:
        """Return a URL with which anyone can call an operation for a limited time.

        The URL is valid for ``max_seconds``, or until the credentials expire, as far as their end
        is known. Nothing is sent to AWS unless the credentials have to be renewed.

        Raises:
            CredentialsError: There are no credentials, or they have expired.
        """
        clients = self._open_clients()
        with translate_errors(operation):
            client = await clients.client(service, in_region)
            with anyio.fail_after(CALL_TIMEOUT):
                seconds = min(max_seconds, await seconds_left(clients.session))
                if seconds < 1:
                    raise CredentialsError("the credentials have expired")
                url: str = await client.generate_presigned_url(
                    operation, Params=parameters, ExpiresIn=int(seconds)
                )
        return url

    async def account_id(self) -> str:
        """Return the number of the AWS account. Raises the errors of `call`."""
        if self._account is None:
            response = await self.call("sts", "get_caller_identity")
            self._account = str(response["Account"])
        return self._account

    async def close(self) -> None:
        """Close the connections; further calls raise `ClosedError`."""
        self._clients = None
        with anyio.CancelScope(shield=True):  # closing sockets waits for nothing
            for clients in self._opened:
                await clients.close()

    async def _renew_credentials(self, expired: BotoClients) -> bool:
        """Replace expired credentials, and return whether a call can be repeated with new ones."""
        async with self._renewing:
            if self._clients is not expired:
                return True  # another task has renewed them meanwhile
            now = anyio.current_time()
            if self._renew is None or now < self._renewed_at + RENEWAL_INTERVAL:
                return False
            self._renewed_at = now
            logger.info("the credentials have expired: looking for newer ones")
            with translate_errors("credentials"):
                session = await anyio.to_thread.run_sync(self._renew)
            if self._clients is expired:
                # The calls that are in progress keep the earlier clients.
                self._clients = newer = self._new_clients(session)
                self._opened.append(newer)
            return True

    def _open_clients(self) -> BotoClients:
        if self._clients is None:
            raise ClosedError("AWS is called after its client was closed")
        return self._clients


async def _send_request(
    client: Any, operation: str, parameters: Mapping[str, Any], max_body: int
) -> dict[str, Any]:
    with anyio.fail_after(CALL_TIMEOUT):
        response: dict[str, Any] = await getattr(client, operation)(**parameters)
        await read_body(operation, response, max_body)
    name = client.meta.method_to_api_mapping[operation]
    shape = client.meta.service_model.operation_model(name).output_shape
    return checked_response(operation, response, () if shape is None else shape.members)


@asynccontextmanager
async def open_aws(settings: Settings, *, session: Any = None) -> AsyncGenerator[AWSClient]:
    """Yield a client with the credentials, the region and the endpoint of the settings.

    Nothing is sent to AWS before the first call. A ``session`` replaces the keys, profile and role
    of the settings. Credentials of a role are renewed before they expire.

    Raises:
        CredentialsError: The profile does not exist, or the configuration of boto is wrong.
        ConfigurationError: The event loop is trio's, or ``.env`` names an endpoint for credentials
            from elsewhere.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        msg = "AWS is called with aioboto3, which needs asyncio: run this on asyncio, not on trio"
        raise ConfigurationError(msg) from None
    own_session = session is not None
    check_endpoints(settings, own_session=own_session)
    with translate_errors("credentials"):
        if session is None:
            session = await anyio.to_thread.run_sync(create_session, settings)
        region = settings.region or session.region_name or FALLBACK_REGION
    fixed = own_session or settings.access_key_id is not None
    new_client = partial(
        AWSClient,
        region=region,
        endpoint_url=settings.endpoint_url,
        s3_endpoint_url=settings.s3_endpoint_url,
    )
    base = new_client(session, renew=None if fixed else partial(create_session, settings))
    aws = base
    try:
        if needs_role(settings) and not own_session:
            renew = partial(create_role_session, settings, base.call)
            aws = new_client(await anyio.to_thread.run_sync(renew), renew=renew)
        yield aws
    finally:
        await aws.close()
        await base.close()
