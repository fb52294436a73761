"""Final usages of tasks that have stopped after the process that started them had ended."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.cluster_tasks import describe_tasks
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings
from cloudburst.models.task import Usage

logger = logging.getLogger(__name__)

_TASK_ARN = re.compile(
    r"arn:aws[a-z-]*:ecs:(?P<region>[a-z]{2}[a-z0-9-]{3,30}):\d{12}"
    r":task/(?P<cluster>[A-Za-z0-9_-]{1,255})/[0-9a-f]{1,64}",
    re.ASCII,
)
"""Pattern of the ARN of a task: "Amazon Resource Names (ARNs) and IDs" in the ECS Developer Guide
(2026-11). Regions and clusters come from journals, which other programs may have changed."""


async def find_final_usages(settings: Settings, usages: Mapping[str, Usage]) -> dict[str, Usage]:
    """Return the final usage of each task that AWS reports as stopped, with one request for 100.

    Tasks that have not stopped yet, or that AWS has forgotten, are left out. So are the tasks of a
    cluster that cannot be read, for which a warning is logged.

    Args:
        settings: Credentials and endpoint. Region and cluster are those of each task.
        usages: Last known usage of each task, by its ARN.

    Raises:
        CredentialsError: The profile does not exist, or the configuration of boto is wrong.
    """
    places = defaultdict[tuple[str, str], list[str]](list)
    for task in usages:
        if (found := _TASK_ARN.fullmatch(task)) is not None:
            places[found["region"], found["cluster"]].append(task)
    final = dict[str, Usage]()
    async with open_aws(settings) as aws:
        for (region, cluster), tasks in places.items():
            try:
                described = await describe_tasks(aws, cluster, tasks, in_region=region)
            except CloudburstError as exc:
                logger.warning("%s: stopped tasks cannot be described: %s", cluster, exc)
                continue
            for each in described:
                arn, description = each["taskArn"], parse_task_description(each)
                if (stopped_at := description.stopped_at) is not None:
                    final[arn] = replace(
                        usages[arn],
                        pull_started_at=description.pull_started_at,
                        last_seen_at=max(usages[arn].last_seen_at, stopped_at),
                        stopped_at=stopped_at,
                    )
    return final
