"""IAM statements that ``cloudburst doctor --live`` needs, and the names of what it creates."""

from __future__ import annotations

from cloudburst.aws.setup.images import Repository
from cloudburst.aws.setup.s3_statements import bucket_arn
from cloudburst.aws.setup.setup_statements import push_statement
from cloudburst.aws.setup.statements import OUR_TAGS, PolicyScope, Statement, allow

LIVE_NAME = "cloudburst-check"
"""Name of the repository that exists only during the check, and of the run in the tags of its
tasks."""
LIVE_OBJECTS = ".cloudburst/check-live-"
"""Start of the names of its objects in a folder of S3. In this subfolder, the policy of a run
permits to delete objects."""


def live_statements(scope: PolicyScope) -> tuple[Statement, ...]:
    """Return the statements that the check needs in addition to those of a run and of ``doctor``.

    The repository is configured and deleted by its tags, as ``destroy`` does.
    """
    repository = Repository(account=scope.account, region=scope.region, name=LIVE_NAME).arn
    buckets = tuple(dict.fromkeys(bucket_arn(folder, scope.region) for folder in scope.s3))
    return (
        allow("LogInToECR", "*", "ecr:GetAuthorizationToken"),
        push_statement("PushToCheckRepository", repository),
        allow(
            "CreateCheckRepository",
            repository,
            "ecr:CreateRepository",
            "ecr:DescribeRepositories",
            "ecr:GetLifecyclePolicyPreview",
            "ecr:ListTagsForResource",
            "ecr:StartLifecyclePolicyPreview",
            "ecr:TagResource",
        ),
        allow(
            "DeleteCheckRepository",
            repository,
            "ecr:DeleteRepository",
            "ecr:PutLifecyclePolicy",
            when=OUR_TAGS,
        ),
        allow("ReadTrail", "*", "cloudtrail:LookupEvents"),
        *([allow("ListUploads", buckets, "s3:ListBucketMultipartUploads")] if buckets else []),
    )
