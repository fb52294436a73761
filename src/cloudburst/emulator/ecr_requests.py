"""Parameters and entries of the ECR API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudburst.emulator.errors import invalid_parameter

MAX_IMAGE_IDS = 100
"""Maximum number of images in one call: BatchGetImage in the ECR API reference (2026-11)."""
MAX_PAGE = 1000
DEFAULT_PAGE = 100
"""Maximum and default number of entries of a response: DescribeImages in the ECR API reference
(2026-11)."""


def image_ids_of(parameters: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the member ``imageIds`` of a request.

    Raises:
        ApiError: there are more than AWS accepts.
    """
    idents: list[Mapping[str, Any]] = list(parameters.get("imageIds") or ())
    if len(idents) > MAX_IMAGE_IDS:
        raise invalid_parameter(f"imageIds can have up to {MAX_IMAGE_IDS} entries")
    return [{str(key): str(value) for key, value in ident.items()} for ident in idents]


def reference_of(ident: Mapping[str, str]) -> str:
    """Return the digest or tag in an entry of ``imageIds``."""
    return ident.get("imageDigest") or ident.get("imageTag") or ""


def not_found(ident: Mapping[str, str]) -> dict[str, Any]:
    """Return the failure of an image that does not exist."""
    return {
        "imageId": ident,
        "failureCode": "ImageNotFound",
        "failureReason": "Requested image not found",
    }


def tags_of(entries: Any) -> dict[str, str]:
    """Return tags by their key."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in entries}


def page_of(
    entries: list[dict[str, Any]], parameters: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return a page of a list and the member ``nextToken`` if there are more entries.

    Raises:
        ApiError: the token is not valid.
    """
    start, token = 0, parameters.get("nextToken")
    if token:
        if not str(token).isdecimal():
            raise invalid_parameter("Invalid parameter at 'nextToken'")
        start = int(token)
    end = start + min(int(parameters.get("maxResults") or DEFAULT_PAGE), MAX_PAGE)
    return entries[start:end], {"nextToken": str(end)} if end < len(entries) else {}
