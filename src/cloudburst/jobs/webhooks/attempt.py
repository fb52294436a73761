"""Attempt to deliver a webhook message: one HTTP request, and what its answer means."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import httpx
from anyio import fail_after, move_on_after

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.jobs.webhooks.definitions import Webhook
from cloudburst.jobs.webhooks.signature import signed_headers
from cloudburst.net.session import read_up_to
from cloudburst.net.transfers.errors import TransferError, retry_after_seconds, translated_errors
from cloudburst.redaction import SecretOwner, hide_secrets, query_secrets

# Maximum number of bytes that are read of the body of an answer. The body is not used: after its
# end, the connection can be used again.
MAX_READ_BYTES = 64 * 1024
# Maximum number of seconds for reading the body of an answer.
READ_TIMEOUT = 1.0
# Maximum number of seconds for closing a connection.
CLOSE_TIMEOUT = 2.0
# Statuses with which a receiver may name the time of the next attempt (RFC 6585, RFC 9110).
_ASK_TO_WAIT = {429, 503}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostOutcome:
    """PostOutcome of an attempt."""

    # Reason why the attempt failed; ``None`` if the message was delivered.
    error: str | None = None
    # Seconds for which the receiver asks to wait.
    retry_after: float = 0.0
    # True if the receiver wants no further messages.
    gone: bool = False


DELIVERED = PostOutcome()


async def post_message(
    http: httpx.AsyncClient,
    webhook: Webhook,
    *,
    message: str,
    body: bytes,
    timestamp: float,
    timeout: float,  # noqa: ASYNC109 - a part of the outcome
) -> PostOutcome:
    """Send a message once; ``timeout`` is for the head of the answer.

    The answer is not trusted: it is read up to a limit, and redirects are not followed. The query
    of the URL is hidden in all logs, because an answer may repeat it.
    """
    if query := webhook.target.path.partition(b"?")[2].decode("ascii"):
        hide_secrets(*query_secrets(query), owner=SecretOwner.WEBHOOK)
    headers = signed_headers(body, message=message, timestamp=int(timestamp), keys=webhook.keys)
    request = http.build_request(
        "POST",
        webhook.target.origin,
        headers={**headers, "Content-Type": "application/json"},
        content=body,
        timeout=httpx.Timeout(timeout),
        # Beside the URL, so that no log line of httpx contains path and query.
        extensions={"target": webhook.target.path},
    )
    try:
        with fail_after(timeout), translated_errors():
            response = await http.send(request, stream=True)
    except TimeoutError:
        return PostOutcome(error=f"no answer within {timeout:g} s")
    except TransferError as exc:
        return PostOutcome(error=exc.failure.reason)
    try:
        # The status has arrived, so a body that is not complete does not matter.
        with move_on_after(READ_TIMEOUT), suppress(httpx.RequestError):
            await read_up_to(response, MAX_READ_BYTES + 1)
    finally:
        with suppress(TimeoutError):
            await finish_despite_cancel(response.aclose, seconds=CLOSE_TIMEOUT)
    return _outcome(response)


def _outcome(response: httpx.Response) -> PostOutcome:
    status = response.status_code
    if 200 <= status <= 299:
        return DELIVERED
    wait = retry_after_seconds(response.headers) if status in _ASK_TO_WAIT else None
    note = " (redirects are not followed)" if 300 <= status <= 399 else ""
    return PostOutcome(error=f"HTTP {status}{note}", retry_after=wait or 0.0, gone=status == 410)
