"""Address from which this machine reaches the workers of an account."""

from __future__ import annotations

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.public_ip import (
    EMULATOR_CLIENT,
    is_emulated,
    private_address,
    public_address,
)
from cloudburst.aws.setup.subnets import vpc_cidrs
from cloudburst.models.settings import Settings


async def find_client_address(aws: AWSClient, settings: Settings, vpc: str) -> str:
    """Return the IPv4 address of this machine, as workers see it.

    Args:
        aws: Client of the account.
        settings: Settings that say whether workers have public addresses, or name an emulator.
        vpc: Id of the VPC of the workers.

    Raises:
        ConfigurationError: The address cannot be found.
        CloudburstError: Any error of `AWSClient.call`.
    """
    if is_emulated(settings):
        return EMULATOR_CLIENT
    if settings.public_address:
        return await public_address()
    return await private_address(await vpc_cidrs(aws, vpc))
