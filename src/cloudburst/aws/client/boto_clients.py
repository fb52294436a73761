"""Clients of boto, which are created without blocking the event loop.

Importing boto takes a quarter of a second, and reading the model of a service tens of milliseconds.
So the first client of a service is created in a thread, on an event loop of its own, and discarded.
The next client of the same session finds the model in boto's cache and takes a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import anyio.to_thread
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession

from cloudburst.aws.client.credentials import no_credentials_error
from cloudburst.errors import ConfigurationError
from cloudburst.net.registry.names import is_loopback_host
from cloudburst.redaction import install_filters

MODELS_FOLDER = str(Path(__file__).with_name("models"))
"""Folder with this package's own service models, which botocore reads in addition to its own
models."""
AWS_CONNECT_TIMEOUT = 3.1
"""Maximum seconds to open a connection: slightly more than TCP takes to resend a lost packet."""
READ_TIMEOUT = 10.0
"""Maximum seconds to wait for the next bytes of a response."""
MAX_CONNECTIONS = 50
"""Maximum number of connections to one service. Further calls wait for a free connection."""
_S3_CONFIG: Mapping[str, Any] = {
    # boto would sign URLs of some regions with an older version.
    "signature_version": "s3v4",
    # boto would add checksums of its own, also to URLs, which the requests would have to send.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}

# Event of boto before it determines the URL of a request.
_ENDPOINT_EVENT = "before-endpoint-resolution.s3"


class BotoClients:
    """Clients of boto, one for each service and region, opened when they are first used."""

    def __init__(
        self,
        session: Any,
        *,
        region: str,
        endpoint_url: str | None,
        s3_endpoint_url: str | None = None,
    ) -> None:
        self.session = session
        """Session of boto, which has the credentials."""
        loader = session._session.get_component("data_loader")  # noqa: SLF001 - no public way
        others = [path for path in loader.search_paths if path != MODELS_FOLDER]
        loader.search_paths[:] = [*others, MODELS_FOLDER]
        self._region = region
        self._endpoint_url = endpoint_url
        self._s3_endpoint_url = s3_endpoint_url or endpoint_url
        self._open: dict[tuple[str, str], Any] = {}
        self._stack = AsyncExitStack()
        self._opening = anyio.Lock()
        # A call is signed without a pause, which takes a millisecond. One call is signed in each
        # round of the event loop, so that a hundred concurrent calls do not block it.
        self._signing = anyio.Lock()

    async def client(self, service: str, region: str | None) -> Any:
        """Return the client of a service for one call.

        Raises:
            ConfigurationError: The endpoint is on another machine and has no TLS.
            NoCredentialsError: boto finds no credentials. Other errors of boto are raised too.
            CredentialsError: The profile has only credentials of ``aws login``.
        """
        client = await self._client(service, region or self._region)
        async with self._signing:
            await anyio.lowlevel.checkpoint()
        return client

    async def close(self) -> None:
        """Close the connections of all clients."""
        await self._stack.aclose()

    async def _client(self, service: str, region: str) -> Any:
        if (known := self._open.get((service, region))) is not None:
            return known
        async with self._opening:
            if (client := self._open.get((service, region))) is None:
                await anyio.to_thread.run_sync(
                    anyio.run, self._fill_cache, service, region, abandon_on_cancel=True
                )
                opened = await self._stack.enter_async_context(self._new_client(service, region))
                _check_endpoint(service, opened.meta.endpoint_url)
                if service == "s3":
                    opened.meta.events.register_first(_ENDPOINT_EVENT, _keep_regional_endpoint)
                client = self._open[service, region] = opened
                install_filters()  # creating a client imports modules, which create loggers
            return client

    async def _fill_cache(self, service: str, region: str) -> None:
        if await self.session.get_credentials() is None:
            # Here, not after a search on the event loop of the caller.
            raise no_credentials_error(self.session)
        async with self._new_client(service, region):
            pass

    def _new_client(self, service: str, region: str) -> Any:
        endpoint_url = self._s3_endpoint_url if service == "s3" else self._endpoint_url
        loopback = is_loopback_host(urlsplit(endpoint_url or "").hostname or "")
        config = AioConfig(
            connect_timeout=AWS_CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=MAX_CONNECTIONS,
            http_session_cls=HTTPSession,
            # The caller retries: only it knows whether and when a call may be repeated.
            retries={"mode": "standard", "total_max_attempts": 1},
            # No proxy leads to this machine itself. None: the proxies of the environment.
            proxies={} if loopback else None,
            **(_S3_CONFIG if service == "s3" else {}),
        )
        return self.session.client(
            service, region_name=region, endpoint_url=endpoint_url, config=config
        )


def _check_endpoint(service: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback_host(parts.hostname or ""):
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        variable = "AWS_ENDPOINT_URL_S3" if service == "s3" else "AWS_ENDPOINT_URL"
        msg = (
            f"the endpoint of {service} is {place}, but plain HTTP is used on this machine only: "
            f"set {variable} to an address with https://"
        )
        raise ConfigurationError(msg)


def _keep_regional_endpoint(context: dict[str, Any], **_: object) -> None:
    # boto would sign URLs for the global endpoint, which redirects requests for new buckets, and
    # refuses those for buckets in regions launched after March 2019: "Virtual hosting of buckets",
    # Amazon S3 User Guide (2026-11); https://github.com/boto/boto3/issues/2187.
    context["use_global_endpoint"] = False


class HTTPSession(AIOHTTPSession):
    """HTTP session of aiobotocore that does not wait for "100 Continue".

    Some servers never send it, and aiohttp would wait without end.
    """

    async def send(self, request: Any) -> Any:
        """Send a request and return the response."""
        request.headers.pop("Expect", None)
        return await super().send(request)
