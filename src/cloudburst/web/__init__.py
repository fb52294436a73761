"""Support for web apps: jobs over HTTP, webhooks, and a shared client.

Install the ``[web]`` extra to use it. No response of this package contains a path of the server, a
process id or a host name.
"""

from __future__ import annotations

try:
    from cloudburst.jobs.webhooks.definitions import Webhook, Webhooks
    from cloudburst.jobs.webhooks.signature import verify_webhook
    from cloudburst.web.access import Access, Action
    from cloudburst.web.error_responses import exception_handlers
    from cloudburst.web.jobs import AppState, Jobs, get_client, lifespan
    from cloudburst.web.request_limits import RequestLimits
except ModuleNotFoundError as exc:
    name = str(exc.name).partition(".")[0]
    if name not in {"starlette", "python_multipart"}:
        raise
    msg = f"cloudburst.web needs {name}: pip install 'cloudburst-sdk[web]'"
    raise ModuleNotFoundError(msg, name=name) from None

__all__ = [
    "Access",
    "Action",
    "AppState",
    "Jobs",
    "RequestLimits",
    "Webhook",
    "Webhooks",
    "exception_handlers",
    "get_client",
    "lifespan",
    "verify_webhook",
]
