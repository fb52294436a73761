"""Rows of the failure table for failed requests to workers and AWS."""

# They match HTTP statuses and exceptions.

from __future__ import annotations

from cloudburst.errors import (
    AWSError,
    CredentialsError,
    DownloadError,
    EncodeError,
    KeyRefusedError,
    NoAnswerError,
    Remedy,
    RenderFailedError,
    ThrottledError,
    UploadError,
    WorkerDiskFullError,
    WorkerError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models.failures.failure import Failure, row

# Instruction for a user who has no valid AWS credentials.
ADD_CREDENTIALS = "run aws configure or aws sso login, or set AWS_PROFILE"

_OURS = "docs/internals/protocol.md"
_PUBLIC = "source code of the public image: docs/internals/protocol.md"
_BOTO = "botocore.exceptions (botocore 1.40)"
_HTTPX = "Exceptions, httpx 0.28: https://www.python-httpx.org/exceptions/"
_RFC = "HTTP Semantics, RFC 9110, section 15"

KEY_REFUSED = row(
    KeyRefusedError,
    *("401", "403"),
    contexts=("worker", "onestep"),
    meaning="the worker expects a different key",
    action="for workers that you started yourself, check VIDEO_API_AUTH_KEY",
    source=_OURS,
)
FILES_MISSING = row(
    WorkerError,
    "409",
    contexts=("job",),
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the worker lacks files of the job; they are uploaded again",
    source=_OURS,
)
JOB_LIMIT_REACHED = row(
    WorkerStoppedError,
    "429",
    contexts=("job",),
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the worker takes no more jobs at the moment",
    source=_OURS,
)
PROXY_LOST_WORKER = row(
    WorkerStoppedError,
    *("502", "504"),
    contexts=("onestep",),
    meaning="a proxy lost the connection to the worker, which may continue the encode",
    source=_RFC,
)
WORKER_UNAVAILABLE = row(
    WorkerStoppedError,
    "503",
    contexts=("onestep",),
    meaning="the worker has stopped or is about to stop",
    source=f"{_PUBLIC}; {_RFC}",
)
WORKER_DISK_FULL = row(
    WorkerDiskFullError,
    "507",
    contexts=("worker", "onestep"),
    meaning="the worker's disk is full",
    action="give tasks a larger disk with CLOUDBURST_EPHEMERAL_STORAGE; workers on this machine "
    "share one disk: free space, or pass local(folder=…) on a larger disk",
    source=f"{_OURS}; Extensions for WebDAV, RFC 4918, section 11.5",
)
WORKER_BUSY = row(
    WorkerStoppedError,
    *("408", "5??"),
    contexts=("worker",),
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the worker cannot answer at the moment; after a minute it counts as lost",
    source=f"{_OURS}; {_RFC}",
)

VIDEO_CHANGED = row(
    WorkerStoppedError,
    "416",
    contexts=("video",),
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the video has changed since a part of it was downloaded; it is downloaded again",
    source=_RFC,
)
FILE_TOO_LARGE = row(
    UploadError,
    "413",
    contexts=("file",),
    meaning="a file is larger than the worker accepts",
    action="make the file that the message names smaller",
    source=_OURS,
)
UNKNOWN_PROTOCOL = row(
    WorkerProtocolError,
    "*",
    contexts=("onestep", "file", "job"),
    meaning="the server does not use the worker's protocol; after Limits.attempts such workers in "
    "a row no more are started",
    action="check the address, the image, and the label cloudburst.protocol of the task definition",
    source=f"{_OURS}; {_PUBLIC}",
)

HTTP_STATUSES: tuple[Failure, ...] = (
    KEY_REFUSED,
    FILES_MISSING,
    JOB_LIMIT_REACHED,
    PROXY_LOST_WORKER,
    WORKER_UNAVAILABLE,
    WORKER_DISK_FULL,
    WORKER_BUSY,
    VIDEO_CHANGED,
    row(
        RenderFailedError,
        *("408", "429", "5??"),
        contexts=("onestep",),
        meaning="the worker failed for a reason other than the scene",
        source=f"{_PUBLIC}; {_RFC}",
    ),
    row(
        WorkerStoppedError,
        "404",
        contexts=("events",),
        meaning="the worker does not know the job: it was restarted",
        source=_OURS,
    ),
    FILE_TOO_LARGE,
    row(
        EncodeError,
        *("400", "413", "415", "422"),
        contexts=("onestep", "job"),
        meaning="the worker cannot make a video of these files and options",
        action="change what the message names",
        source=f"{_OURS}; {_PUBLIC}",
    ),
    row(
        DownloadError,
        "*",
        contexts=("video",),
        meaning="the worker refuses to send the video",
        source=_OURS,
    ),
    row(
        WorkerStoppedError,
        "*",
        contexts=("events",),
        remedy=Remedy.REPEAT_REQUEST,
        meaning="the worker refuses to send the progress of the job",
        source=_OURS,
    ),
    UNKNOWN_PROTOCOL,
    row(
        ThrottledError,
        "429",
        contexts=("aws",),
        meaning="too many requests to AWS",
        source=_RFC,
    ),
    row(
        NoAnswerError,
        *("408", "5??"),
        contexts=("aws",),
        meaning="AWS or the connection to it failed; the request may have been executed",
        source=f"Common errors, ECS API reference (2026-11); {_RFC}",
    ),
)

CONNECTION_REFUSED = row(
    WorkerStoppedError,
    "builtins.ConnectionRefusedError",
    contexts=("worker",),
    meaning="the worker's port refuses connections; after three refusals it counts as lost",
    source="connect(2): ECONNREFUSED",
)

EXCEPTIONS: tuple[Failure, ...] = (
    row(
        CredentialsError,
        "botocore.CredentialRetrievalError",
        "botocore.InvalidConfigError",
        "botocore.MetadataRetrievalError",
        "botocore.NoAuthTokenError",
        "botocore.NoCredentialsError",
        "botocore.PartialCredentialsError",
        "botocore.ProfileNotFound",
        "botocore.SSOError",
        "botocore.TokenRetrievalError",
        contexts=("aws",),
        meaning="there are no credentials, or they cannot be obtained",
        action=ADD_CREDENTIALS,
        source=_BOTO,
    ),
    row(
        NoAnswerError,
        "aiohttp.ClientError",
        "botocore.ConnectionError",
        "botocore.HTTPClientError",
        "botocore.ResponseParserError",
        "builtins.OSError",
        contexts=("aws",),
        meaning="AWS did not answer, or its answer is invalid; the request may have been executed",
        action="if it persists, check the network, the proxy and AWS_ENDPOINT_URL",
        source=_BOTO,
    ),
    row(
        AWSError,
        "botocore.BotoCoreError",
        contexts=("aws",),
        meaning="a call to AWS is not possible with these settings",
        action="check the region, the endpoint and the configuration of boto",
        source=_BOTO,
    ),
    CONNECTION_REFUSED,
    row(
        WorkerStoppedError,
        "httpx.RequestError",
        "builtins.TimeoutError",
        contexts=("worker",),
        remedy=Remedy.REPEAT_REQUEST,
        meaning="the connection to the worker broke; after a minute without data it counts as lost",
        source=_HTTPX,
    ),
)
