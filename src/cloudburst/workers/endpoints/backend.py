"""Backend of render services that already run at given addresses; each service is a worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from cloudburst.errors import ConfigurationError
from cloudburst.models.limits import Timeouts
from cloudburst.models.performance import endpoints_kind, endpoints_performance
from cloudburst.models.task import Protocol, Secrets
from cloudburst.ports.backend import Backend, Silence
from cloudburst.workers.endpoints.launcher import EndpointLauncher, parse_addresses
from cloudburst.workers.endpoints.observed_renderer import observed_connect
from cloudburst.workers.http import onestep, public_image
from cloudburst.workers.http.connection import validate_key

_ONESTEP = "the protocol onestep of the public image (for our image, set protocol to native)"
"""Words for workers with this protocol in the errors of options."""


@asynccontextmanager
async def open_endpoints_backend(
    addresses: Sequence[str],
    *,
    key: str,
    protocol: Protocol,
    encoders: int = 1,
    timeouts: Timeouts,
) -> AsyncGenerator[Backend]:
    """Open a backend of workers that already run; it starts and stops no worker.

    Args:
        addresses: Base URLs of the workers. With ``https``, a worker is verified with the
            certificate authorities of this system.
        key: Key of all workers; empty if they require none.
        protocol: Protocol of all workers.
        encoders: Number of scenes that each worker encodes at once. Pass more than 1 only for our
            own render service: concurrent encodes on the public image interfere with each other.
        timeouts: ``silence``, ``call`` and ``ready`` are used.

    Raises:
        ConfigurationError: An address, the key or ``encoders`` is invalid.
    """
    secrets = Secrets(key=validate_key(key))
    if encoders < 1:
        msg = f"encoders={encoders}: at least 1"
        raise ConfigurationError(msg)
    endpoints = parse_addresses(addresses)
    launcher = EndpointLauncher(endpoints)
    onestep_factor = onestep.MAX_ENCODE_SECONDS_PER_AUDIO_SECOND
    yield Backend(
        name="endpoints",
        launcher=launcher,
        connect=observed_connect(launcher, protocol, timeouts),
        capacity=len(endpoints),
        encoder_slots=encoders,
        cancels_encodes=protocol is Protocol.NATIVE,
        queues_jobs=protocol is Protocol.NATIVE,
        shares_encodes=protocol is Protocol.NATIVE,
        uses_s3=protocol is Protocol.NATIVE,
        shares_uplink=True,
        explain_silence=_explain_silence,
        find_unsupported=(
            partial(public_image.find_unsupported, image=_ONESTEP)
            if protocol is Protocol.ONESTEP
            else None
        ),
        new_secrets=lambda: secrets,
        kind=endpoints_kind([endpoint.address for endpoint in endpoints], protocol),
        performance=endpoints_performance(protocol, encoder_slots=encoders),
        encode_timeout_factor=onestep_factor if protocol is Protocol.ONESTEP else 0.0,
    )


async def _explain_silence(address: str) -> Silence:
    text = f"start the render service there, or correct the address: curl {address}/health"
    return Silence(text, certain=True)
