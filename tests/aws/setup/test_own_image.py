"""Our image is pushed to the account's registry, registered by digest, and removed again."""

from __future__ import annotations

import json
import re

import anyio
import pytest

from cloudburst.aws.setup import changes, destroy_account, ecr_push, own_image
from cloudburst.aws.setup.check_account import doctor
from cloudburst.aws.setup.destroy_account import destroy
from cloudburst.aws.setup.ecr_repository import LIFECYCLE_POLICY
from cloudburst.aws.setup.init_account import InitOptions, init
from cloudburst.aws.setup.permissions import PolicyScope, Purpose, statements
from cloudburst.errors import (
    AccessDeniedError,
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.image import kernels
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.models.limits import Backoff
from cloudburst.models.task import PROTOCOL_VERSION, Protocol
from cloudburst.net.registry.client import RegistryClient, open_registry
from cloudburst.net.registry.errors import RegistryUnavailableError
from cloudburst.net.registry.images import PushProgress
from cloudburst.testing import Fault
from support.cloudformation import create_stack, policy_after_stack
from support.own_images import Builder
from support.setup_accounts import (
    HERE,
    client,
    here,
    key_by_hand,
    outcomes,
    session,
    settings_of,
    wipe,
    writes,
)

pytestmark = pytest.mark.anyio

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
REPOSITORY = "cloudburst"
QUICK = Backoff(first=0.01, cap=0.02)


@pytest.fixture
def emulator(registry_account):
    wipe(registry_account)
    return registry_account


@pytest.fixture
def builder(tmp_path, monkeypatch):
    builder = Builder(tmp_path / "images", packages=str(tmp_path).encode())
    monkeypatch.setattr(own_image, "sources_hash", builder.sources_hash)
    return builder


async def set_up(emulator, builder, *, said=None, progress=None, changes=None, **options):
    options = InitOptions(env_file=options.pop("env_file", None), **options)
    settings = settings_of(emulator, **(changes or {}))
    report = await init(
        settings,
        options=options,
        find_address=here,
        session=session(),
        on_wait=None if said is None else said.append,
        on_progress=None if progress is None else progress.append,
        build_image=builder,
    )
    return report, settings_of(emulator, **{**(changes or {}), **report.environment})


def step_of(report, resource):
    (step,) = [step for step in report.steps if step.resource == resource]
    return step


def definition_of(emulator, family="cloudburst-render"):
    ecs = client(emulator, "ecs")
    return ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]


def definitions(emulator):
    return client(emulator, "ecs").list_task_definitions()["taskDefinitionArns"]


@pytest.mark.few(1)
@pytest.mark.parametrize("dry_run", [False, True])
async def test_without_a_compiler_for_arm64_init_leaves_it_out_and_says_so(
    emulator, builder, monkeypatch, tmp_path, dry_run
):
    monkeypatch.setattr(kernels, "LIBRARIES", tmp_path)
    monkeypatch.setattr(kernels, "find_zig", lambda: None)
    said = []
    report, _ = await set_up(emulator, builder, said=said, dry_run=dry_run)
    assert "ARM64 is left out: " in said[0]
    assert "pip install ziglang" in said[0]
    assert not [step for step in report.steps if "arm64" in step.name]
    if not dry_run:
        assert builder.options.architectures == ("amd64",)
    said.clear()
    await set_up(emulator, builder, said=said, dry_run=dry_run, arm64=False)
    assert not [line for line in said if "ARM64" in line]


async def test_init_pushes_our_image_and_registers_it_by_digest(emulator, builder, tmp_path):
    said, progress = [], []
    env = tmp_path / ".env"
    report, settings = await set_up(emulator, builder, said=said, progress=progress, env_file=env)
    built = await builder(builder.options)
    for family, architecture in (
        ("cloudburst-render", "X86_64"),
        ("cloudburst-render-arm64", "ARM64"),
    ):
        definition = definition_of(emulator, family)
        (container,) = definition["containerDefinitions"]
        assert container["image"] == f"{HOST}/cloudburst@{built.digest}"
        assert container["dockerLabels"]["cloudburst.version"] == PACKAGE_VERSION
        assert definition["runtimePlatform"]["cpuArchitecture"] == architecture
    assert "DOCKER_IMAGE=own\n" in env.read_text()
    assert "ECS_TASK_DEFINITION=cloudburst-render\n" in env.read_text()

    ecr = client(emulator, "ecr")
    (repository,) = ecr.describe_repositories()["repositories"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    policy = ecr.get_lifecycle_policy(repositoryName=REPOSITORY)["lifecyclePolicyText"]
    assert json.loads(policy) == LIFECYCLE_POLICY
    tags = ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
    assert {"Key": "CreatedBy", "Value": "animagent"} in tags

    # What is uploaded is said before.
    assert said[0] == f"image {PACKAGE_VERSION}: at most 0.4 MB to upload"
    assert any(isinstance(each, PushProgress) for each in progress)
    assert step_of(report, "image").outcome == "created"
    assert "0.4 MB pushed in" in step_of(report, "image").detail

    since, builds = len(emulator.calls), builder.builds
    again, _ = await set_up(emulator, builder, changes=report.environment)
    assert not again.changed
    assert writes(emulator, since) == []
    assert builder.builds == builds

    diagnosis = await doctor(settings, tasks=1, find_address=here, session=session())
    told = {check.name: (str(check.status), check.found) for check in diagnosis.checks}
    assert told["platforms"] == ("passed", "the image is for amd64, arm64")
    assert told["image"] == ("passed", f"our own, cloudburst@{built.digest[:19]}")
    assert told["version"] == ("passed", f"{PACKAGE_VERSION}, protocol version {PROTOCOL_VERSION}")
    assert told["registry"][0] == "passed"


async def test_init_pushes_our_image_to_the_repository_of_a_stack_which_destroy_keeps(
    emulator, builder
):
    client(emulator, "iam").create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
    create_stack(emulator, Image="own", Sources=f"{HERE}/32")
    await anyio.sleep(emulator.config.role_passable)
    since = len(emulator.calls)
    limited = emulator.new_key(policies=[policy_after_stack(settings_of(emulator))])
    report, _ = await set_up(emulator, builder, changes=limited)
    assert set(writes(emulator, since)) == {"ecs:RegisterTaskDefinition"}
    created = {step.resource for step in report.steps if step.outcome == "created"}
    assert created == {"image", "task definition"}
    built = await builder(builder.options)
    (container,) = definition_of(emulator)["containerDefinitions"]
    assert container["image"] == f"{HOST}/cloudburst@{built.digest}"
    report = await destroy(settings_of(emulator), session=session())
    step = step_of(report, "image repository")
    assert step.outcome == "kept"
    assert "the CloudFormation stack films" in step.detail
    assert client(emulator, "ecr").describe_images(repositoryName=REPOSITORY)["imageDetails"]


async def test_a_changed_package_sends_its_layer_only(emulator, builder, registry_server):
    report, _ = await set_up(emulator, builder)
    before = await builder(builder.options)
    builder.own = b"two"
    report, _ = await set_up(emulator, builder, changes=report.environment)
    step = step_of(report, "image")
    assert step.outcome == "updated"
    assert re.fullmatch(r"0\.0 MB pushed in \d+ s, 0\.4 MB were there", step.detail)
    assert {name: told for name, told in outcomes(report).items() if told == "updated"} == {
        ("image", "cloudburst"): "updated",
        ("task definition", "cloudburst-render"): "updated",
        ("task definition", "cloudburst-render-arm64"): "updated",
    }
    after = await builder(builder.options)
    assert before.digest != after.digest
    async with open_registry(registry_server.url, registry_server.credentials) as registry:
        found, _ = await registry.resolve(REPOSITORY, PACKAGE_VERSION)
        assert found.digest == after.digest
        # Tasks of earlier revisions still find theirs.
        await registry.resolve(REPOSITORY, before.digest)


@pytest.mark.few(1)
@pytest.mark.parametrize("change", ["sources", "base", "bytecode", "architectures"])
async def test_an_image_of_another_machine_is_used_if_it_is_of_the_same(
    emulator, builder, tmp_path, change
):
    """Nobody has to build what ECR has, unless it differs from what would be built here."""
    builder.bytecode = "none" if change == "bytecode" else "3.13.1"
    first = {"arm64": False} if change == "architectures" else {}
    report, _ = await set_up(emulator, builder, **first)
    here = Builder(tmp_path / "here", own=b"two" if change == "sources" else builder.own)
    builder.own = here.own
    second = {"base": "registry.example/python:3.13"} if change == "base" else {}
    report, _ = await set_up(emulator, here, changes=report.environment, **second)
    assert here.builds == 1
    assert step_of(report, "image").outcome == "updated"
    third = Builder(tmp_path / "third")
    report, _ = await set_up(emulator, third, changes=report.environment, **second)
    assert third.builds == 0
    assert not report.changed


async def test_a_dry_run_builds_and_pushes_nothing(emulator, builder):
    since = len(emulator.calls)
    report, _ = await set_up(emulator, builder, dry_run=True)
    assert builder.builds == 0
    assert writes(emulator, since) == []
    assert step_of(report, "image repository").outcome == "created"
    assert step_of(report, "image").detail == (
        "built here, at most 110 MB to upload for each architecture"
    )
    report, _ = await set_up(emulator, builder)
    builds, environment = builder.builds, report.environment
    report, _ = await set_up(emulator, builder, changes=environment, dry_run=True)
    assert not report.changed
    builder.own = b"two"
    report, _ = await set_up(emulator, builder, changes=environment, dry_run=True)
    assert step_of(report, "image").outcome == "updated"
    assert builder.builds == builds


async def test_the_base_that_was_named_is_that_of_the_next_init(emulator, builder):
    base = "registry.example.com/python:3.13-slim"
    report, settings = await set_up(emulator, builder, base=base, arm64=False)
    assert report.environment["CLOUDBURST_BASE_IMAGE"] == settings.base_image == base
    assert builder.options.base == base
    assert builder.options.architectures == ("amd64",)
    assert ("task definition", "cloudburst-render-arm64") not in outcomes(report)
    report, _ = await set_up(emulator, builder, changes=report.environment, arm64=False)
    assert report.environment["CLOUDBURST_BASE_IMAGE"] == base
    assert step_of(report, "image").outcome == "found"


async def test_an_image_that_cannot_be_built_leaves_the_account_unchanged(emulator):
    async def broken(options, on_progress=None):
        raise ConfigurationError("no compiler: pip install ziglang")

    since = len(emulator.calls)
    with pytest.raises(ConfigurationError, match="ziglang"):
        await set_up(emulator, broken)
    assert writes(emulator, since) == []


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (("DescribeRepositories", "AccessDeniedException"), AccessDeniedError),
        (("CreateRepository", "AccessDeniedException"), AccessDeniedError),
        (("CreateRepository", "ServerException"), NoAnswerError),
        (("PutLifecyclePolicy", "ThrottlingException"), ThrottledError),
        (("RegisterTaskDefinition", "ServerException"), NoAnswerError),
    ],
)
async def test_after_a_failure_the_next_init_goes_on(
    emulator, builder, monkeypatch, failure, error
):
    operation, code = failure
    monkeypatch.setattr("cloudburst.aws.client.client.CALL_BACKOFF", QUICK)
    times = 4 if code == "ThrottlingException" else 1  # such calls are repeated
    status = 500 if code == "ServerException" else 400
    emulator.add_fault(Fault(operation=operation, code=code, status=status, times=times))
    with pytest.raises(error):
        await set_up(emulator, builder)
    assert definitions(emulator) == []
    await set_up(emulator, builder)
    assert len(definitions(emulator)) == 2


async def test_without_a_login_nothing_is_created(emulator, builder):
    emulator.add_fault(Fault(operation="GetAuthorizationToken", code="AccessDeniedException"))
    since = len(emulator.calls)
    with pytest.raises(AccessDeniedError):
        await set_up(emulator, builder)
    assert writes(emulator, since) == []


async def test_a_push_that_fails_registers_nothing_and_its_layers_stay(
    emulator, builder, monkeypatch
):
    async def refused(*_):
        raise RegistryUnavailableError("the registry refuses manifests")

    with monkeypatch.context() as patched:
        patched.setattr(RegistryClient, "push_manifest", refused)
        with pytest.raises(CloudburstError, match="refuses manifests"):
            await set_up(emulator, builder)
    assert definitions(emulator) == []
    report, _ = await set_up(emulator, builder)
    assert step_of(report, "image repository").outcome == "found"
    assert "0.4 MB were there" in step_of(report, "image").detail
    assert len(definitions(emulator)) == 2


async def test_a_push_that_is_cancelled_registers_nothing_and_its_layers_stay(emulator, builder):
    with anyio.CancelScope() as scope:

        class Cancel(list):
            def append(self, progress):
                if isinstance(progress, PushProgress) and progress.blobs_done:
                    scope.cancel()

        await set_up(emulator, builder, progress=Cancel())
    assert scope.cancelled_caught
    assert definitions(emulator) == []
    report, _ = await set_up(emulator, builder)
    assert " were there" in step_of(report, "image").detail
    assert len(definitions(emulator)) == 2


async def test_a_push_that_is_not_allowed_names_the_policy(emulator, builder, monkeypatch):
    real = ecr_push.open_registry

    def refused(url, login):
        return real(url, type(login)(login.username, "wrong"))

    monkeypatch.setattr(ecr_push, "open_registry", refused)
    with pytest.raises(AccessDeniedError, match="cloudburst init --policy init"):
        await set_up(emulator, builder)
    assert definitions(emulator) == []


async def test_a_repository_of_others_is_used_and_kept_as_it_is(emulator, builder):
    ecr = client(emulator, "ecr")
    ecr.create_repository(repositoryName=REPOSITORY)
    report, settings = await set_up(emulator, builder)
    assert step_of(report, "image repository").detail == "not created by init, used unchanged"
    (repository,) = ecr.describe_repositories()["repositories"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": False}
    report = await destroy(settings, session=session())
    step = step_of(report, "image repository")
    assert (step.outcome, step.detail) == ("kept", "not created by init")
    assert ecr.describe_repositories()["repositories"]


async def test_what_was_changed_by_hand_in_our_repository_is_corrected(emulator, builder):
    report, _ = await set_up(emulator, builder)
    ecr = client(emulator, "ecr")
    ecr.put_image_scanning_configuration(
        repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": False}
    )
    policy = '{"rules": []}'.ljust(100)
    ecr.put_lifecycle_policy(repositoryName=REPOSITORY, lifecyclePolicyText=policy)
    report, _ = await set_up(emulator, builder, changes=report.environment)
    step = step_of(report, "image repository")
    assert (step.outcome, step.detail) == ("updated", "scans images on push, keeps 3 images")


async def test_destroy_removes_a_repository_with_our_images_only(
    emulator, builder, registry_server
):
    _, settings = await set_up(emulator, builder)
    report = await destroy(settings, session=session(), keep_image=True)
    step = step_of(report, "image repository")
    assert (step.outcome, step.detail) == ("kept", "with its images, as requested")

    _, settings = await set_up(emulator, builder)
    ecr = client(emulator, "ecr")
    foreign = ["cloudburst-2", "cloudburst/other", "cloudburs"]
    for name in foreign:
        ecr.create_repository(repositoryName=name)
    async with open_registry(registry_server.url, registry_server.credentials) as registry:
        found, data = await registry.resolve(REPOSITORY, PACKAGE_VERSION)
        theirs = json.loads(data)
        theirs["manifests"] = theirs["manifests"][:1]
        await push_json(registry, {**theirs, "annotations": {}}, found.media_type, "mine")
    plan = await destroy(settings, session=session(), dry_run=True)
    report = await destroy(settings, session=session())
    assert report.steps == plan.steps
    step = step_of(report, "image repository")
    assert step.outcome == "kept"
    assert step.detail == "contains images that init did not push: mine"
    left = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert ["mine"] in [each.get("imageTags", []) for each in left]
    assert [PACKAGE_VERSION] in [each.get("imageTags", []) for each in left]
    ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "mine"}])

    _, settings = await set_up(emulator, builder)
    report = await destroy(settings, session=session())
    step = step_of(report, "image repository")
    assert (step.outcome, step.detail) == ("removed", "with 1 image")
    left = ecr.describe_repositories()["repositories"]
    assert sorted(each["repositoryName"] for each in left) == sorted(foreign)


async def push_json(registry, document, media_type, tag):
    await registry.push_manifest(REPOSITORY, tag, json.dumps(document).encode(), media_type)


async def test_an_image_that_is_pushed_during_destroy_is_not_removed(
    emulator, builder, registry_server, monkeypatch
):
    """Also if it was pushed after the images of the repository were listed."""
    monkeypatch.setattr(changes, "REMOVAL_TIMEOUT", 3.0)
    monkeypatch.setattr(changes, "CONSISTENCY_BACKOFF", Backoff(first=0.5, cap=1.0))
    _, settings = await set_up(emulator, builder)
    async with open_registry(registry_server.url, registry_server.credentials) as registry:
        found, data = await registry.resolve(REPOSITORY, PACKAGE_VERSION)
        read = destroy_account.read_repository_to_remove

        async def read_and_push(*arguments):
            listed = await read(*arguments)
            document = {**json.loads(data), "annotations": {}, "manifests": []}
            await push_json(registry, document, found.media_type, "late")
            return listed

        monkeypatch.setattr(destroy_account, "read_repository_to_remove", read_and_push)
        report = await destroy(settings, session=session())
    step = step_of(report, "image repository")
    assert step.outcome == "failed"
    assert "RepositoryNotEmptyException" in step.detail
    assert {one.outcome for one in report.steps if one is not step} == {"removed"}
    left = client(emulator, "ecr").describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert ["late"] in [each.get("imageTags") for each in left]


@pytest.mark.few(1)
@pytest.mark.parametrize("operation", ["BatchDeleteImage", "DeleteRepository"])
async def test_destroy_tells_what_ecr_does_not_remove(emulator, builder, operation):
    _, settings = await set_up(emulator, builder)
    emulator.add_fault(Fault(operation=operation, code="AccessDeniedException", message="no"))
    report = await destroy(settings, session=session())
    step = step_of(report, "image repository")
    assert step.outcome == "failed"
    assert "AccessDeniedException: no" in step.detail
    assert {one.outcome for one in report.steps if one is not step} == {"removed"}
    report = await destroy(settings, session=session())
    assert [(one.resource, one.outcome) for one in report.steps] == [
        ("image repository", "removed")
    ]
    assert client(emulator, "ecr").describe_repositories()["repositories"] == []


@pytest.mark.few(1)
@pytest.mark.parametrize("operation", ["DescribeRepositories", "DescribeImages"])
async def test_destroy_without_permissions_for_ecr_removes_the_rest(emulator, builder, operation):
    _, settings = await set_up(emulator, builder)
    emulator.add_fault(Fault(operation=operation, code="AccessDeniedException"))
    report = await destroy(settings, session=session())
    step = step_of(report, "image repository")
    assert step.outcome == "failed"
    assert step.detail.startswith("not looked for: ")
    assert {one.outcome for one in report.steps if one is not step} == {"removed"}


async def test_our_image_speaks_our_protocol(emulator, builder):
    with pytest.raises(ConfigurationError, match="speaks the protocol native"):
        await set_up(emulator, builder, protocol=Protocol.ONESTEP)
    with pytest.raises(ConfigurationError, match="for our own image only"):
        await set_up(emulator, builder, changes={"DOCKER_IMAGE": "public"}, base="python")
    assert builder.builds == 0


async def test_the_policies_are_enough_for_the_image(emulator, builder):
    def allowed(purpose, settings):
        scope = PolicyScope(settings, "us-east-1", "123456789012")
        return {action for one in statements(scope, purpose) for action in one.actions}

    def done(since):
        by_hand = key_by_hand(emulator)["AWS_ACCESS_KEY_ID"]
        calls = emulator.calls[since:]
        return {call.action for call in calls if call.key != by_hand} - {"sts:GetCallerIdentity"}

    since = len(emulator.calls)
    report, settings = await set_up(emulator, builder)
    ecr = client(emulator, "ecr")
    ecr.put_image_scanning_configuration(
        repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": False}
    )
    report, settings = await set_up(emulator, builder, changes=report.environment)
    assert "ecr:CreateRepository" in done(since)
    assert done(since) <= allowed(Purpose.INIT, settings)
    since = len(emulator.calls)
    await doctor(settings, tasks=1, find_address=here, session=session())
    assert done(since) <= allowed(Purpose.DOCTOR, settings)
    since = len(emulator.calls)
    await destroy(settings, session=session())
    assert "ecr:DeleteRepository" in done(since)
    assert done(since) <= allowed(Purpose.DESTROY, settings)
