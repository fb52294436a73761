"""Address from which this machine reaches the workers of an account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.public_ip import (
    EMULATOR_CLIENT,
    is_emulated,
    private_address,
    public_address,
)
from cloudburst.aws.setup.subnets import vpc_cidrs
from cloudburst.models.settings import Settings


async def find_client_address(
    aws: AWSClient,
    settings: Settings,
    vpc: str,
    find_address: Callable[[], Awaitable[str]] | None = None,
) -> str:
    """Return the IPv4 address of this machine, as workers see it.

    Args:
        aws: Client of the account.
        settings: Settings that say whether workers have public addresses, or name an emulator.
        vpc: Id of the VPC of the workers.
        find_address: Function of the caller that returns the address; ``None`` to find it out.

    Raises:
        ConfigurationError: The address cannot be found.
        CloudburstError: Any error of `AWSClient.call`.
    """
    if find_address is not None:
        return await find_address()
    if is_emulated(settings):
        return EMULATOR_CLIENT
    if settings.public_address:
        return await public_address()
    return await private_address(await vpc_cidrs(aws, vpc))
