"""IAM statements that ``cloudburst doctor --live`` needs, and the names of what it creates."""

from __future__ import annotations

from collections.abc import Iterable

from cloudburst.aws.setup.images import Repository
from cloudburst.aws.setup.s3_statements import bucket_arn
from cloudburst.aws.setup.statements import Statement, our_tags_condition
from cloudburst.models.locations import S3Prefix

LIVE_NAME = "cloudburst-check"
"""Name of the repository that exists only during the check, and of the run in the tags of its
tasks."""
LIVE_OBJECTS = ".cloudburst/check-live-"
"""Start of the names of its objects in a folder of S3. In this subfolder, the policy of a run
permits to delete objects."""


def live_statements(region: str, account: str, s3: Iterable[S3Prefix]) -> tuple[Statement, ...]:
    """Return the statements that the check needs in addition to those of a run and of ``doctor``.

    The repository is configured and deleted by its tags, as ``destroy`` does.
    """
    repository = (Repository(account=account, region=region, name=LIVE_NAME).arn,)
    buckets = tuple(dict.fromkeys(bucket_arn(folder, region) for folder in s3))
    uploads = Statement(
        sid="ListUploads", actions=("s3:ListBucketMultipartUploads",), resources=buckets
    )
    return (
        Statement(sid="LogInToECR", actions=("ecr:GetAuthorizationToken",)),
        Statement(
            sid="PushToCheckRepository",
            actions=(
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:CreateRepository",
                "ecr:DescribeRepositories",
                "ecr:GetLifecyclePolicyPreview",
                "ecr:InitiateLayerUpload",
                "ecr:ListTagsForResource",
                "ecr:PutImage",
                "ecr:StartLifecyclePolicyPreview",
                "ecr:TagResource",
                "ecr:UploadLayerPart",
            ),
            resources=repository,
        ),
        Statement(
            sid="DeleteCheckRepository",
            actions=("ecr:DeleteRepository", "ecr:PutLifecyclePolicy"),
            resources=repository,
            conditions=our_tags_condition(),
        ),
        Statement(sid="ReadTrail", actions=("cloudtrail:LookupEvents",)),
        *([uploads] if buckets else []),
    )
