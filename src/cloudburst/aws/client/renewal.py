"""Replacement of expired credentials by newer ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import aioboto3
import anyio
import anyio.to_thread

from cloudburst.aws.client.errors import translate_errors

logger = logging.getLogger(__name__)

RENEWAL_INTERVAL = 60.0
"""Minimum seconds between two attempts to replace expired credentials."""


class Renewal:
    """Search for newer credentials of a client.

    Args:
        create_session: Function that finds credentials and returns a session with them; it blocks.
            ``None`` if there are never newer ones.
    """

    def __init__(self, create_session: Callable[[], aioboto3.Session] | None) -> None:
        self._create_session = create_session
        self._searched_at = -math.inf

    @property
    def possible(self) -> bool:
        """True if newer credentials may be found."""
        return self._create_session is not None

    async def find_newer(self) -> aioboto3.Session | None:
        """Return a session with the credentials that are found now.

        Return ``None`` if there are never newer ones, or the last search was less than
        `RENEWAL_INTERVAL` ago.

        Raises:
            CredentialsError: There are no credentials.
        """
        now = anyio.current_time()
        if self._create_session is None or now < self._searched_at + RENEWAL_INTERVAL:
            return None
        self._searched_at = now
        logger.info("the credentials have expired: looking for newer ones")
        with translate_errors("credentials"):
            return await anyio.to_thread.run_sync(self._create_session)
