"""Rows of the failure table for failed requests to workers and AWS.

They match HTTP statuses and exceptions.
"""

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
from cloudburst.models.failures.failure import Evidence, Failure

ADD_CREDENTIALS = "run aws configure or aws sso login, or set AWS_PROFILE"
"""Instruction for a user who has no valid AWS credentials."""

_OURS = "docs/protocol.md"
_PUBLIC = "source code of the public image: docs/protocol.md"
_BOTO = "botocore.exceptions (botocore 1.40)"
_HTTPX = "Exceptions, httpx 0.28: https://www.python-httpx.org/exceptions/"
_RFC = "HTTP Semantics, RFC 9110, section 15"

KEY_REFUSED = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("401", "403"),
    contexts=("worker", "onestep"),
    error=KeyRefusedError,
    remedy=Remedy.OTHER_WORKER,
    meaning="the worker expects a different key",
    action="for workers that you started yourself, check VIDEO_API_AUTH_KEY",
    source=_OURS,
)
FILES_MISSING = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("409",),
    contexts=("job",),
    error=WorkerError,
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the worker lacks files of the job; they are uploaded again",
    source=_OURS,
    files_missing=True,
)
JOB_LIMIT_REACHED = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("429",),
    contexts=("job",),
    error=WorkerStoppedError,
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the worker takes no more jobs at the moment",
    source=_OURS,
    job_limit_reached=True,
)
PROXY_LOST_WORKER = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("502", "504"),
    contexts=("onestep",),
    error=WorkerStoppedError,
    remedy=Remedy.OTHER_WORKER,
    meaning="a proxy lost the connection to the worker, which may continue the encode",
    source=_RFC,
    encode_continues=True,
)
WORKER_UNAVAILABLE = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("503",),
    contexts=("onestep",),
    error=WorkerStoppedError,
    remedy=Remedy.OTHER_WORKER,
    meaning="the worker has stopped or is about to stop",
    source=f"{_PUBLIC}; {_RFC}",
)
WORKER_DISK_FULL = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("507",),
    contexts=("worker", "onestep"),
    error=WorkerDiskFullError,
    remedy=Remedy.OTHER_WORKER,
    meaning="the worker's disk is full",
    action=(
        "give tasks a larger disk with CLOUDBURST_EPHEMERAL_STORAGE; workers on this machine share "
        "one disk: free space, or pass local(folder=…) on a larger disk"
    ),
    source=f"{_OURS}; Extensions for WebDAV, RFC 4918, section 11.5",
)
WORKER_BUSY = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("408", "5??"),
    contexts=("worker",),
    error=WorkerStoppedError,
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the worker cannot answer at the moment; after a minute it counts as lost",
    source=f"{_OURS}; {_RFC}",
    temporary=True,
)

VIDEO_CHANGED = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("416",),
    contexts=("video",),
    error=WorkerStoppedError,
    remedy=Remedy.REPEAT_REQUEST,
    meaning="the video has changed since a part of it was downloaded; it is downloaded again",
    source=_RFC,
    video_changed=True,
)
FILE_TOO_LARGE = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("413",),
    contexts=("file",),
    error=UploadError,
    remedy=Remedy.FIX_SCENE,
    meaning="a file is larger than the worker accepts",
    action="make the file that the message names smaller",
    source=_OURS,
)
UNKNOWN_PROTOCOL = Failure(
    evidence=Evidence.HTTP_STATUS,
    patterns=("*",),
    contexts=("onestep", "file", "job"),
    error=WorkerProtocolError,
    remedy=Remedy.OTHER_WORKER,
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
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("408", "429", "5??"),
        contexts=("onestep",),
        error=RenderFailedError,
        remedy=Remedy.OTHER_WORKER,
        meaning="the worker failed for a reason other than the scene",
        source=f"{_PUBLIC}; {_RFC}",
    ),
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("404",),
        contexts=("events",),
        error=WorkerStoppedError,
        remedy=Remedy.OTHER_WORKER,
        meaning="the worker does not know the job: it was restarted",
        source=_OURS,
    ),
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("413",),
        contexts=("onestep",),
        error=UploadError,
        remedy=Remedy.FIX_SCENE,
        meaning="the scene is larger than the worker accepts",
        action="make its files smaller",
        source=f"{_PUBLIC}; {_RFC}",
    ),
    FILE_TOO_LARGE,
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("400", "415", "422"),
        contexts=("onestep",),
        error=EncodeError,
        remedy=Remedy.FIX_SCENE,
        meaning="the worker cannot make a video of these files and options",
        action="change what the message names",
        source=_PUBLIC,
    ),
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("400", "413", "422"),
        contexts=("job",),
        error=EncodeError,
        remedy=Remedy.FIX_SCENE,
        meaning="the worker cannot make a video of these files and options",
        action="change the field that the message names",
        source=_OURS,
    ),
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("*",),
        contexts=("video",),
        error=DownloadError,
        remedy=Remedy.OTHER_WORKER,
        meaning="the worker refuses to send the video",
        source=_OURS,
    ),
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("*",),
        contexts=("events",),
        error=WorkerStoppedError,
        remedy=Remedy.REPEAT_REQUEST,
        meaning="the worker refuses to send the progress of the job",
        source=_OURS,
    ),
    UNKNOWN_PROTOCOL,
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("429",),
        contexts=("aws",),
        error=ThrottledError,
        remedy=Remedy.REPEAT_REQUEST,
        meaning="too many requests to AWS",
        source=_RFC,
    ),
    Failure(
        evidence=Evidence.HTTP_STATUS,
        patterns=("408", "5??"),
        contexts=("aws",),
        error=NoAnswerError,
        remedy=Remedy.REPEAT_REQUEST,
        meaning="AWS or the connection to it failed; the request may have been executed",
        source=f"Common errors, ECS API reference (2026-11); {_RFC}",
    ),
)

CONNECTION_REFUSED = Failure(
    evidence=Evidence.EXCEPTION,
    patterns=("builtins.ConnectionRefusedError",),
    contexts=("worker",),
    error=WorkerStoppedError,
    remedy=Remedy.OTHER_WORKER,
    meaning="the worker's port refuses connections; after three refusals it counts as lost",
    source="connect(2): ECONNREFUSED",
    connection_refused=True,
)

EXCEPTIONS: tuple[Failure, ...] = (
    Failure(
        evidence=Evidence.EXCEPTION,
        patterns=(
            "botocore.CredentialRetrievalError",
            "botocore.InvalidConfigError",
            "botocore.MetadataRetrievalError",
            "botocore.NoAuthTokenError",
            "botocore.NoCredentialsError",
            "botocore.PartialCredentialsError",
            "botocore.ProfileNotFound",
            "botocore.SSOError",
            "botocore.TokenRetrievalError",
        ),
        contexts=("aws",),
        error=CredentialsError,
        remedy=Remedy.FIX_SETUP,
        meaning="there are no credentials, or they cannot be obtained",
        action=ADD_CREDENTIALS,
        source=_BOTO,
    ),
    Failure(
        evidence=Evidence.EXCEPTION,
        patterns=(
            "aiohttp.ClientError",
            "botocore.ConnectionError",
            "botocore.HTTPClientError",
            "botocore.ResponseParserError",
            "builtins.OSError",
        ),
        contexts=("aws",),
        error=NoAnswerError,
        remedy=Remedy.REPEAT_REQUEST,
        meaning="AWS did not answer, or its answer is invalid; the request may have been executed",
        action="if it persists, check the network, the proxy and AWS_ENDPOINT_URL",
        source=_BOTO,
    ),
    Failure(
        evidence=Evidence.EXCEPTION,
        patterns=("botocore.BotoCoreError",),
        contexts=("aws",),
        error=AWSError,
        remedy=Remedy.FIX_SETUP,
        meaning="a call to AWS is not possible with these settings",
        action="check the region, the endpoint and the configuration of boto",
        source=_BOTO,
    ),
    CONNECTION_REFUSED,
    Failure(
        evidence=Evidence.EXCEPTION,
        patterns=("httpx.RequestError", "builtins.TimeoutError"),
        contexts=("worker",),
        error=WorkerStoppedError,
        remedy=Remedy.REPEAT_REQUEST,
        meaning="the connection to the worker broke; after a minute without data it counts as lost",
        source=_HTTPX,
    ),
)
