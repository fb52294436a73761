"""IAM statements that ``cloudburst doctor --live`` needs, and the names of what it creates."""

from __future__ import annotations

from collections.abc import Iterable

from cloudburst.aws.setup.images import Repository
from cloudburst.aws.setup.s3_statements import bucket_arn
from cloudburst.aws.setup.setup_statements import push_statement
from cloudburst.aws.setup.statements import Statement, our_tags_condition
from cloudburst.models.locations import S3Prefix

LIVE_NAME = "cloudburst-check"
"""Name of the repository that exists only during the check, and of the run in the tags of its
tasks."""
LIVE_OBJECTS = ".cloudburst/check-live-"
"""Start of the names of its objects in a folder of S3. In this subfolder, the policy of a run
permits to delete objects."""
_CREATE = (
    *("ecr:CreateRepository", "ecr:DescribeRepositories", "ecr:ListTagsForResource"),
    *("ecr:GetLifecyclePolicyPreview", "ecr:StartLifecyclePolicyPreview", "ecr:TagResource"),
)
_DELETE = ("ecr:DeleteRepository", "ecr:PutLifecyclePolicy")
_LIST_UPLOADS = "s3:ListBucketMultipartUploads"


def live_statements(region: str, account: str, s3: Iterable[S3Prefix]) -> tuple[Statement, ...]:
    """Return the statements that the check needs in addition to those of a run and of ``doctor``.

    The repository is configured and deleted by its tags, as ``destroy`` does.
    """
    repository = Repository(account=account, region=region, name=LIVE_NAME).arn
    buckets = tuple(dict.fromkeys(bucket_arn(folder, region) for folder in s3))
    uploads = Statement(sid="ListUploads", actions=(_LIST_UPLOADS,), resources=buckets)
    names, ours = (repository,), our_tags_condition()
    return (
        Statement(sid="LogInToECR", actions=("ecr:GetAuthorizationToken",)),
        push_statement("PushToCheckRepository", repository),
        Statement(sid="CreateCheckRepository", actions=_CREATE, resources=names),
        Statement(sid="DeleteCheckRepository", actions=_DELETE, resources=names, conditions=ours),
        Statement(sid="ReadTrail", actions=("cloudtrail:LookupEvents",)),
        *([uploads] if buckets else []),
    )
