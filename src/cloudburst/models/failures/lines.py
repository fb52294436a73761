"""What goes wrong between here and the other side: no answer, or one of HTTP."""

from __future__ import annotations

from cloudburst.errors import (
    AWSError,
    CredentialsError,
    DownloadError,
    GenerateError,
    KeyRefusedError,
    NoAnswerError,
    Remedy,
    RenderFailedError,
    ThrottledError,
    UploadError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.failures.row import Failure, Where

_OURS = "docs/protocol.md"
_PUBLIC = "what the public image answers, by its own code: docs/protocol.md"
_BOTO = "botocore.exceptions (botocore 1.40)"
_HTTPX = "Exceptions, httpx 0.28: https://www.python-httpx.org/exceptions/"
_RFC = "HTTP Semantics, RFC 9110, section 15"

KEY = Failure(
    where=Where.HTTP,
    match=("401", "403"),
    on=("worker", "onestep"),
    error=KeyRefusedError,
    remedy=Remedy.ELSEWHERE,
    means="the worker wants another key",
    do="with workers of your own: check VIDEO_API_AUTH_KEY",
    source=_OURS,
)
LACKING = Failure(
    where=Where.HTTP,
    match=("409",),
    on=("job",),
    error=WorkerError,
    remedy=Remedy.AGAIN_HERE,
    means="the worker lacks files that the job names: they are sent again",
    source=_OURS,
)
FULL = Failure(
    where=Where.HTTP,
    match=("429",),
    on=("job",),
    error=WorkerStoppedError,
    remedy=Remedy.AGAIN_HERE,
    means="the worker has no room for one more job now",
    source=_OURS,
)
LOST = Failure(
    where=Where.HTTP,
    match=("502", "504"),
    on=("onestep",),
    error=WorkerStoppedError,
    remedy=Remedy.ELSEWHERE,
    means="a proxy in between has lost the worker, which goes on",
    source=_RFC,
)
LEAVING = Failure(
    where=Where.HTTP,
    match=("503",),
    on=("onestep",),
    error=WorkerStoppedError,
    remedy=Remedy.ELSEWHERE,
    means="the worker is gone or about to be",
    source=f"{_PUBLIC}; {_RFC}",
)
UNABLE = Failure(
    where=Where.HTTP,
    match=("408", "5??"),
    on=("worker",),
    error=WorkerStoppedError,
    remedy=Remedy.AGAIN_HERE,
    means="the worker cannot now; after a minute of it, it counts as lost",
    source=f"{_OURS}; {_RFC}",
)

ANEW = Failure(
    where=Where.HTTP,
    match=("416",),
    on=("video",),
    error=WorkerStoppedError,
    remedy=Remedy.AGAIN_HERE,
    means="the video is not what a part of it is there of: it is fetched from its first byte on",
    source=_RFC,
)
STRANGER = Failure(
    where=Where.HTTP,
    match=("*",),
    on=("onestep",),
    error=WorkerError,
    remedy=Remedy.WHOLE_RUN,
    means="what answers there does not speak the public image's protocol",
    do="check the image, and the label cloudburst.protocol of the task definition",
    source=_PUBLIC,
)

STATUSES: tuple[Failure, ...] = (
    KEY,
    LACKING,
    FULL,
    LOST,
    LEAVING,
    UNABLE,
    ANEW,
    Failure(
        where=Where.HTTP,
        match=("408", "429", "5??"),
        on=("onestep",),
        error=RenderFailedError,
        remedy=Remedy.ELSEWHERE,
        means="the worker failed, by no fault of the scene",
        source=f"{_PUBLIC}; {_RFC}",
    ),
    Failure(
        where=Where.HTTP,
        match=("404",),
        on=("events",),
        error=WorkerStoppedError,
        remedy=Remedy.ELSEWHERE,
        means="the worker no longer knows the job: it was started anew",
        source=_OURS,
    ),
    Failure(
        where=Where.HTTP,
        match=("413",),
        on=("onestep",),
        error=UploadError,
        remedy=Remedy.SCENE,
        means="the worker takes no scene so large",
        do="make its files smaller",
        source=f"{_PUBLIC}; {_RFC}",
    ),
    Failure(
        where=Where.HTTP,
        match=("*",),
        on=("file",),
        error=UploadError,
        remedy=Remedy.SCENE,
        means="the worker does not take the file",
        do="the message names the field and what would be right",
        source=_OURS,
    ),
    Failure(
        where=Where.HTTP,
        match=("400", "415", "422"),
        on=("onestep",),
        error=GenerateError,
        remedy=Remedy.SCENE,
        means="the worker cannot make a video of these files and options",
        do="the message says what is wrong with them",
        source=_PUBLIC,
    ),
    Failure(
        where=Where.HTTP,
        match=("*",),
        on=("job",),
        error=GenerateError,
        remedy=Remedy.SCENE,
        means="the worker cannot make a video of these files and options",
        do="the message names the field and what would be right",
        source=_OURS,
    ),
    Failure(
        where=Where.HTTP,
        match=("*",),
        on=("video",),
        error=DownloadError,
        remedy=Remedy.ELSEWHERE,
        means="the worker does not give the video out",
        source=_OURS,
    ),
    Failure(
        where=Where.HTTP,
        match=("*",),
        on=("events",),
        error=WorkerStoppedError,
        remedy=Remedy.AGAIN_HERE,
        means="the worker does not tell how the job goes",
        source=_OURS,
    ),
    STRANGER,
    Failure(
        where=Where.HTTP,
        match=("429",),
        on=("aws",),
        error=ThrottledError,
        remedy=Remedy.AGAIN_HERE,
        means="AWS was asked too often",
        source=_RFC,
    ),
    Failure(
        where=Where.HTTP,
        match=("408", "5??"),
        on=("aws",),
        error=NoAnswerError,
        remedy=Remedy.AGAIN_HERE,
        means="AWS is unwell, or the line to it; it may have done it all the same",
        source=f"Common errors, ECS API reference (2026-11); {_RFC}",
    ),
)

REFUSED = Failure(
    where=Where.EXCEPTION,
    match=("builtins.ConnectionRefusedError",),
    on=("worker",),
    error=WorkerStoppedError,
    remedy=Remedy.ELSEWHERE,
    means="nobody listens at the worker's port: after three of them it is gone",
    source="connect(2): ECONNREFUSED",
)

EXCEPTIONS: tuple[Failure, ...] = (
    Failure(
        where=Where.EXCEPTION,
        match=(
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
        on=("aws",),
        error=CredentialsError,
        remedy=Remedy.WHOLE_RUN,
        means="there are no credentials, or they cannot be had",
        do="aws configure, aws sso login, or AWS_PROFILE",
        source=_BOTO,
    ),
    Failure(
        where=Where.EXCEPTION,
        match=(
            "aiohttp.ClientError",
            "botocore.ConnectionError",
            "botocore.HTTPClientError",
            "botocore.ResponseParserError",
            "builtins.OSError",
        ),
        on=("aws",),
        error=NoAnswerError,
        remedy=Remedy.AGAIN_HERE,
        means="AWS did not answer, or not to be understood; it may have done it all the same",
        do="if it stays so: check the network, the proxy and AWS_ENDPOINT_URL",
        source=_BOTO,
    ),
    Failure(
        where=Where.EXCEPTION,
        match=("botocore.BotoCoreError",),
        on=("aws",),
        error=AWSError,
        remedy=Remedy.WHOLE_RUN,
        means="a call could not be made as the settings have it",
        do="check the region, the endpoint and boto's own configuration",
        source=_BOTO,
    ),
    REFUSED,
    Failure(
        where=Where.EXCEPTION,
        match=("httpx.RequestError", "builtins.TimeoutError"),
        on=("worker",),
        error=WorkerStoppedError,
        remedy=Remedy.AGAIN_HERE,
        means="the line to the worker broke; after a minute of silence the worker counts as lost",
        source=_HTTPX,
    ),
)
