"""Whatever ECR answers: one of our errors names the operation, and nothing is changed after it."""

from __future__ import annotations

import base64
import json
import logging

import pytest

from cloudburst.aws.setup.changes import AccountChanges
from cloudburst.aws.setup.ecr_images import read_images
from cloudburst.aws.setup.ecr_login import log_in_to_ecr
from cloudburst.aws.setup.ecr_repository import (
    describe_repository,
    ensure_repository,
    list_images,
    remove_repository,
)
from cloudburst.aws.setup.images import Repository
from cloudburst.errors import AccessDeniedError, CloudburstError, NoAnswerError, ThrottledError
from cloudburst.models.limits import Backoff
from support.aws_answers import Answer, answering
from support.setup_accounts import digest_of

pytestmark = pytest.mark.anyio

ACCOUNT = "123456789012"
HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
PASSWORD = "a/password~of?twelve>hours"
TOKEN = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
        "annotations": {"cloudburst.protocol-version": "1"},
    }
)
DIGEST = digest_of(INDEX)
REPOSITORY = {
    "repositoryName": "cloudburst",
    "repositoryArn": f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/cloudburst",
    "repositoryUri": f"{HOST}/cloudburst",
    "registryId": ACCOUNT,
    "imageScanningConfiguration": {"scanOnPush": False},
}
TAGS = {"CreatedBy": "animagent", "Project": "CloudBurst"}
IMAGE = {"imageId": {"imageDigest": DIGEST}, "imageManifest": INDEX}
GOOD = {
    "describe_repositories": {"repositories": [REPOSITORY]},
    "list_tags_for_resource": {"tags": [{"Key": key, "Value": TAGS[key]} for key in TAGS]},
    "batch_get_image": {"images": [IMAGE]},
    "get_authorization_token": {
        "authorizationData": [
            {"authorizationToken": TOKEN, "proxyEndpoint": "http://127.0.0.1:5000"}
        ]
    },
    "create_repository": {"repository": REPOSITORY},
    "put_lifecycle_policy": {"repositoryName": "cloudburst", "lifecyclePolicyText": "{}"},
    "put_image_scanning_configuration": {"repositoryName": "cloudburst"},
    "get_lifecycle_policy": {"repositoryName": "cloudburst", "lifecyclePolicyText": "{}"},
    "describe_images": {"imageDetails": [{"imageDigest": DIGEST}]},
    "batch_delete_image": {"imageIds": [], "failures": []},
    "delete_repository": {"repository": REPOSITORY},
}
"""Responses to all calls of ECR that init and destroy make, in this order."""
PAGE = b"<html><body>Sign in to this network</body></html>"
EVERYWHERE = [
    Answer({}),
    Answer([]),
    Answer("text"),
    Answer(PAGE, content_type="text/html"),
    Answer(PAGE),
    Answer(b"[" * 100_000),
    Answer(b'{"a": \xff\xfe}'),
    Answer(b""),
]


@pytest.fixture(autouse=True)
def calls_are_repeated_at_once(monkeypatch):
    monkeypatch.setattr("cloudburst.aws.client.client.CALL_BACKOFF", Backoff(first=1e-3, cap=1e-3))


async def set_up_and_destroy(aws):
    """Everything that init and destroy do with ECR, but for the push."""
    changes = AccountChanges(aws)
    found = await describe_repository(changes)
    assert found is not None
    where = Repository(account=ACCOUNT, region="us-east-1", name="cloudburst")
    assert await read_images(aws, where, [{"imageDigest": DIGEST}])
    await log_in_to_ecr(aws)
    await ensure_repository(changes, None)
    await ensure_repository(changes, found)
    images = await list_images(changes, "cloudburst", ACCOUNT)
    await remove_repository(changes, "cloudburst", images)


async def refused(answers, operation, answer, error=CloudburstError):
    """The text of the error that this answer leads to."""
    answers.answers, answers.calls = {**GOOD, operation: answer}, []
    with pytest.raises(error) as caught:
        await set_up_and_destroy(answers.aws)
    assert str(caught.value).startswith(f"{operation}: ")
    assert len(str(caught.value)) < 3000
    # The others come before it; put_lifecycle_policy and batch_get_image are called twice.
    order = list(GOOD)
    assert answers.calls[-1] == operation
    assert set(answers.calls) <= {*order[: order.index(operation) + 1]}
    return str(caught.value)


async def test_good_answers_are_accepted():
    async with answering(dict(GOOD)) as answers:
        await set_up_and_destroy(answers.aws)
        assert set(answers.calls) == set(GOOD)


@pytest.mark.parametrize("operation", GOOD)
async def test_an_answer_that_is_not_of_aws_ends_it(operation, monkeypatch):
    monkeypatch.setattr("cloudburst.aws.client.operations.MAX_ATTEMPTS", 1)
    async with answering({}) as answers:
        for answer in EVERYWHERE:
            await refused(answers, operation, answer, NoAnswerError)


@pytest.mark.parametrize("operation", GOOD)
async def test_a_refusal_ends_it(operation):
    kind = "com.amazon.coral.service#"
    denied = Answer({"__type": f"{kind}AccessDeniedException", "message": "no\x1b[31m"}, 400)
    throttled = Answer({"__type": f"{kind}ThrottlingException", "message": "x" * 10_000}, 400)
    async with answering({}) as answers:
        assert "AccessDenied" in await refused(answers, operation, denied, AccessDeniedError)
        await refused(answers, operation, throttled, ThrottledError)
        assert answers.calls.count(operation) >= 4
        await refused(answers, operation, Answer(PAGE, 503, "text/html"))


def changed(operation, **values):
    """A good response with other values of some members, wherever they are."""
    text = json.dumps(GOOD[operation])
    body = json.loads(
        text, object_hook=lambda found: {**found, **{k: v for k, v in values.items() if k in found}}
    )
    return operation, body


HUGE = "x" * 10_000_000


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("describe_repositories", {"repositories": []}),
        *(
            changed("get_authorization_token", authorizationToken=token)
            for token in (
                "é",
                "====",
                "A" * 20_000,
                HUGE,
                "",
                base64.b64encode(b"AWS:a\nb").decode(),
            )
        ),
        ("get_authorization_token", {"authorizationData": []}),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:60],
)
async def test_values_that_cannot_be_right_end_it(operation, body, monkeypatch):
    monkeypatch.setattr("cloudburst.aws.client.operations.MAX_ATTEMPTS", 1)
    async with answering({}) as answers:
        await refused(answers, operation, body, NoAnswerError)


@pytest.mark.parametrize(
    "manifest",
    ["", HUGE, "[" * 100_000, "\ud800", json.dumps({"manifests": [{"digest": 1}]}), "[]", "null"],
    ids=range(7),
)
async def test_an_image_that_is_none_is_not_ours(manifest):
    operation, body = changed("batch_get_image", imageManifest=manifest)
    async with answering({**GOOD, operation: body}) as answers:
        images = await list_images(AccountChanges(answers.aws), "cloudburst", ACCOUNT)
    assert (images.indexes, images.parts, images.others) == ([], [], [DIGEST])


async def test_no_log_has_the_login(caplog):
    """Neither that of a good answer, nor that of one that is refused."""
    caplog.set_level(logging.DEBUG)
    escaped = json.dumps(GOOD["get_authorization_token"]).replace("/", r"\/").encode()
    other = base64.b64encode(b"AWS:another password").decode()
    elsewhere = changed(
        "get_authorization_token", authorizationToken=other, proxyEndpoint="https://example.com"
    )[1]
    async with answering({"get_authorization_token": Answer(escaped)}) as answers:
        await log_in_to_ecr(answers.aws)
        answers.answers["get_authorization_token"] = elsewhere
        with pytest.raises(CloudburstError) as caught:
            await log_in_to_ecr(answers.aws)
    text = caplog.text + str(caught.value)
    assert "authorizationToken" in text
    for secret in (TOKEN, other):
        for part in (secret[4:14], secret[-12:-2]):
            assert part not in text
    assert "password" not in text
