"""Waits of the client for AWS and web servers, short enough for tests with emulated accounts."""

from __future__ import annotations

from cloudburst.aws.client import client
from cloudburst.aws.fargate import backend, post_mortem, watcher
from cloudburst.aws.s3 import request_waits
from cloudburst.aws.setup import running_tasks
from cloudburst.engine import launch
from cloudburst.models.limits import Backoff
from cloudburst.workers.http import retries as transfer_retries

RETRIES = Backoff(first=0.2, factor=2.0, cap=4.0)
"""A fifth of `RETRY_BACKOFF`."""
QUICK = Backoff(first=0.01, factor=1.0, cap=0.01)


def shorten_waits(patch):
    """Divide the pauses between calls by five: tasks of quick accounts start in 0.3 s."""
    patch.setattr(watcher, "FAST_INTERVAL", 0.2)
    patch.setattr(watcher, "SLOW_INTERVAL", 1.0)
    patch.setattr(post_mortem, "STOP_POLL_INTERVAL", 0.1)
    patch.setattr(client, "CALL_BACKOFF", Backoff(first=0.1, factor=2.0, cap=1.0))
    for module in (backend, launch, running_tasks, watcher):
        patch.setattr(module, "RETRY_BACKOFF", RETRIES)


def repeat_quickly(patch, backoff=QUICK):
    """Repeat failed requests to S3 and for transfers after hundredths of a second."""
    patch.setattr(client, "CALL_BACKOFF", backoff)
    patch.setattr(transfer_retries, "TRANSFER_BACKOFF", backoff)
    patch.setattr(request_waits, "TRANSFER_BACKOFF", backoff)
