"""Plan of ``init``: what the account has, and every decision that is made before a change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import to_thread

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.public_ip import parse_source
from cloudburst.aws.fargate.ingress_rules import ANY_IPV4
from cloudburst.aws.fargate.task_definition import (
    TaskDefinition,
    named_architecture,
    parse_task_definition,
    task_families,
)
from cloudburst.aws.setup.ecr import OCI_ARCHITECTURES, our_image_name
from cloudburst.aws.setup.network import (
    Subnet,
    default_subnets,
    describe_subnets,
    find_client_address,
    single_vpc,
)
from cloudburst.aws.setup.resource_definitions import (
    OUR_FAMILY,
    WorkerImage,
    is_our_image,
)
from cloudburst.aws.setup.resources import newest_definition
from cloudburst.aws.setup.security_groups import (
    SecurityGroup,
    existing_security_groups,
    find_security_group,
)
from cloudburst.errors import ConfigurationError
from cloudburst.image.kernels import has_kernels
from cloudburst.image.options import Architecture as OciArchitecture
from cloudburst.image.options import ImageOptions
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.models.locations import S3Prefix
from cloudburst.models.prices import Architecture
from cloudburst.models.settings import OWN_IMAGE, Settings
from cloudburst.models.task import Protocol
from cloudburst.net.registry.names import ImageReference
from cloudburst.text import short_repr


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """Options of ``init``."""

    sources: tuple[str, ...] = ()
    """IPv4 addresses and CIDRs from which workers can be reached; empty for this machine's
    address."""
    open_to_world: bool = False
    """True to let every address reach workers, so that only their keys protect them."""
    keep_sources: bool = False
    """True to keep access for the sources that an earlier ``init`` let in."""
    protocol: Protocol | None = None
    """Protocol of the image. With ``None``, it is the first of these that is known: the settings'
    protocol, native for an image named ``cloudburst``, the protocol of the existing task definition
    with the same image, and onestep."""
    arm64: bool | None = None
    """True if the image is available for ARM64. With ``None``, this is assumed for our own image
    and for a task definition whose name ends in ``-arm64``. Our own image is not built for ARM64 if
    the pixel kernel for it cannot be compiled."""
    replace: bool = False
    """True to register the image for an existing task definition with another image. Programs that
    start its tasks then get the new image."""
    base: str | None = None
    """Base of our own image; ``None`` for the default of `cloudburst.image.ImageOptions`."""
    s3: tuple[S3Prefix, ...] = ()
    """Folders in S3 that runs will use; ``init`` writes an empty object to each and deletes it."""
    env_file: Path | None = Path(".env")
    """File to write the settings to; ``None`` to write none."""
    dry_run: bool = False
    """True to change nothing and to report what would be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """Existing resources, and the decisions that ``init`` makes before it changes anything."""

    subnets: Sequence[Subnet]
    vpc: str
    groups: Sequence[SecurityGroup]
    """Security groups that the settings name. If they name none, the existing group with the name
    that ``init`` uses, if there is one."""
    sources: Sequence[str]
    """CIDRs from which workers can be reached."""
    image: WorkerImage
    architectures: Sequence[Architecture]

    def image_options(self, settings: Settings) -> ImageOptions:
        """Return the options of the build of our own image."""
        names: list[OciArchitecture] = [OCI_ARCHITECTURES[name] for name in self.architectures]
        return ImageOptions.from_settings(settings, architectures=tuple(names))


async def plan_setup(
    aws: AWSClient,
    settings: Settings,
    options: InitOptions,
    find_address: Callable[[], Awaitable[str]] | None,
) -> SetupPlan:
    """Read the account, check the settings and return the plan, without changing anything.

    Raises:
        ConfigurationError: The settings contradict each other or do not fit the account, or the
            task definition has another image.
    """
    families = task_families(settings.task_definition)
    if options.open_to_world and options.sources:
        msg = (
            "open_to_world and sources (--open and --from) are both given; expected one of the two"
        )
        raise ConfigurationError(msg)
    if options.base is not None and settings.image != OWN_IMAGE:
        msg = f"base (--base) is given for {settings.image}; expected it for our own image only"
        raise ConfigurationError(msg)
    if options.arm64 is False and named_architecture(settings.task_definition) == "ARM64":
        arm64 = families["ARM64"]
        raise ConfigurationError(f"ECS_TASK_DEFINITION is {arm64}, which needs an ARM64 image")
    subnets = (
        await describe_subnets(aws, settings.subnets)
        if settings.subnets
        else await default_subnets(aws, architecture=named_architecture(settings.task_definition))
    )
    vpc = single_vpc(subnets)
    groups = await _existing_groups(aws, settings, vpc)
    newest: dict[Architecture, dict[str, Any] | None] = {
        architecture: await newest_definition(aws, family)
        for architecture, family in families.items()
    }
    own_name = our_image_name(await aws.account_id(), aws.region)
    image = _worker_image(settings, options, newest["X86_64"], own_name)
    arm64_too = options.arm64
    if arm64_too is None:
        named = named_architecture(settings.task_definition)
        can_build = settings.image != OWN_IMAGE or await to_thread.run_sync(has_kernels, "arm64")
        arm64_too = (image.runs_our_service and can_build) or named == "ARM64"
    architectures: Sequence[Architecture] = ("X86_64", "ARM64") if arm64_too else ("X86_64",)
    if not options.replace:
        for architecture in architectures:
            _check_same_image(newest[architecture], image.name)
    return SetupPlan(
        subnets=subnets,
        vpc=vpc,
        groups=groups,
        sources=await _sources(aws, settings, options, vpc, find_address),
        image=image,
        architectures=architectures,
    )


async def _existing_groups(aws: AWSClient, settings: Settings, vpc: str) -> Sequence[SecurityGroup]:
    # `.env` may name a group that `destroy` has deleted.
    groups = await existing_security_groups(aws, settings.security_groups)
    if not groups:
        group = await find_security_group(aws, vpc)
        return [] if group is None else [group]
    if other_vpc := [group.id for group in groups if group.vpc != vpc]:
        names = ", ".join(other_vpc)
        msg = f"security groups {names} are not in {vpc}, the VPC of the subnets"
        raise ConfigurationError(f"{msg}: correct AWS_SECURITY_GROUP_ID")
    return groups


async def _sources(
    aws: AWSClient,
    settings: Settings,
    options: InitOptions,
    vpc: str,
    find_address: Callable[[], Awaitable[str]] | None,
) -> list[str]:
    if options.open_to_world:
        return [ANY_IPV4]
    if options.sources:
        return sorted({parse_source(each) for each in options.sources})
    try:
        address = await find_client_address(aws, settings, vpc, find_address)
    except ConfigurationError as exc:
        msg = f"{exc}: pass --from CIDR, for example 203.0.113.7/32"
        raise ConfigurationError(msg) from exc
    return [parse_source(address)]


def _worker_image(
    settings: Settings, options: InitOptions, newest: Mapping[str, Any] | None, own_name: str
) -> WorkerImage:
    # Our own image has its tag until its digest is known.
    protocol = options.protocol or settings.protocol
    if settings.image == OWN_IMAGE:
        if protocol is Protocol.ONESTEP:
            msg = "our own image speaks the protocol native, and the settings ask for onestep"
            raise ConfigurationError(f"{msg}: name another image, or remove the protocol")
        return WorkerImage(name=f"{own_name}:{PACKAGE_VERSION}", protocol=Protocol.NATIVE)
    if protocol is None and is_our_image(settings.image):
        protocol = Protocol.NATIVE
    if protocol is None and newest is not None:
        known = _parsed(newest)
        if known is not None and known.image == settings.image:
            protocol = known.protocol
    return WorkerImage(name=settings.image, protocol=protocol or Protocol.ONESTEP)


def _parsed(described: Mapping[str, Any]) -> TaskDefinition | None:
    try:
        return parse_task_definition(described, protocol=None)
    except ConfigurationError:
        return None


def _check_same_image(newest: Mapping[str, Any] | None, image: str) -> None:
    # Programs that start tasks of the family would get the new image, with which they may not work:
    # ``cloudburst-fargate`` sends no key, for example. Another tag or digest is a new version.
    if newest is None:
        return
    known = _parsed(newest)
    repository = ImageReference.split(image).name
    if known is not None and ImageReference.split(known.image).name == repository:
        return
    found = short_repr(known.image, 200) if known else "no container for rendering"
    name = str(newest["taskDefinitionArn"]).rpartition("/")[2].partition(":")[0]
    other = f"{OUR_FAMILY}-2" if name.startswith(OUR_FAMILY) else OUR_FAMILY
    msg = (
        f"the task definition {name} exists with {found}, and programs that start its tasks would "
        f"get {image}: pass --replace (replace=True) if they can use that image, or name another "
        f"task definition: ECS_TASK_DEFINITION={other}"
    )
    raise ConfigurationError(msg)
