"""Replacement of expired credentials by newer ones of the same AWS account."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable

import aioboto3
import anyio
import anyio.to_thread

from cloudburst.aws.client.errors import translate_errors
from cloudburst.errors import CloudburstError, CredentialsError

logger = logging.getLogger(__name__)

RENEWAL_INTERVAL = 60.0
"""Minimum seconds between two attempts to replace expired credentials."""
ACCOUNT_TIMEOUT = 20.0
"""Maximum seconds to find out the account of newer credentials."""


class Renewal:
    """Search for newer credentials of a client.

    Args:
        create_session: Function that finds credentials and returns a session with them; it blocks.
            ``None`` if there are never newer ones.
        account_of: Function that returns the number of the account of a session's credentials.
    """

    def __init__(
        self,
        create_session: Callable[[], aioboto3.Session] | None,
        account_of: Callable[[aioboto3.Session], Awaitable[str]],
    ) -> None:
        self._create_session = create_session
        self._account_of = account_of
        self._searched_at = -math.inf
        self._refusal = ""
        """Reason why the credentials that were found last are not used; usually empty."""
        self.account: str | None = None
        """Number of the client's account; ``None`` as long as it is not known."""

    @property
    def possible(self) -> bool:
        """True if newer credentials may be found.

        False as long as the ones that were found last are those of another account.
        """
        return self._create_session is not None and not self._refusal

    async def find_newer(self) -> aioboto3.Session | None:
        """Return a session with the credentials that are found now.

        Return ``None`` if there are never newer ones, or the last search was less than
        `RENEWAL_INTERVAL` ago.

        Raises:
            CredentialsError: There are no credentials, or they are those of another account.
        """
        now = anyio.current_time()
        if self._create_session is None or now < self._searched_at + RENEWAL_INTERVAL:
            if self._refusal:
                raise CredentialsError(self._refusal)
            return None
        self._searched_at = now
        logger.info("the credentials have expired: looking for newer ones")
        with translate_errors("credentials"):
            session = await anyio.to_thread.run_sync(self._create_session)
        await self._check_account(session)
        return session

    async def _check_account(self, session: aioboto3.Session) -> None:
        """Raise `CredentialsError` if the credentials of a session are those of another account.

        With its credentials, tasks that run could not be stopped.
        """
        self._refusal = ""
        if self.account is None:
            return
        try:
            with anyio.fail_after(ACCOUNT_TIMEOUT):
                found = await self._account_of(session)
        except (CloudburstError, TimeoutError) as exc:
            # Used all the same: if AWS does not accept them, the repeated call says why.
            logger.info("the account of the new credentials is not known: %s", exc)
            return
        if found != self.account:
            self._refusal = (
                f"the credentials were replaced by those of AWS account {found}, but account "
                f"{self.account} is in use: sign in to that account again, then resume the run"
            )
            raise CredentialsError(self._refusal)
