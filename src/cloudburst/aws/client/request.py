"""One request to AWS, whose response is read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import anyio

from cloudburst.aws.client.responses import check_response, read_body, translate_parse_errors

CALL_TIMEOUT = 60.0
"""Maximum seconds from the start of a call to the end of its response, however slowly it
arrives."""


async def send_request(
    client: Any,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    max_body: int,
    required: Iterable[str],
) -> dict[str, Any]:
    """Send one request and return its checked response; for the arguments, see `AWSClient.call`.

    Raises:
        Exception: AWS refuses the request or does not answer; see `translate_errors`.
        NoAnswerError: The response is not usable.
        AWSError: The member ``Body`` is too large.
    """
    with translate_parse_errors(operation), anyio.fail_after(CALL_TIMEOUT):
        response: dict[str, Any] = await getattr(client, operation)(**parameters)
        await read_body(operation, response, max_body)
        name = client.meta.method_to_api_mapping[operation]
        shape = client.meta.service_model.operation_model(name).output_shape
        members = () if shape is None else shape.members
        check_response(operation, response, members=members, required=required)
    return response
