"""The authentication token: fetched when first needed, once for all who wait, and again when the cluster refuses it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from etcdops.client.failures import Refused
from etcdops.client.settings import ConnectionSettings
from etcdops.errors import EtcdopsError, Unhealthy, Unreachable

Authenticate = Callable[[str, str, float], Awaitable[str]]
"""(user name, password, seconds) -> token."""


class TokenKeeper:
    """Holds one client's token. Without a user name there is never one and nothing is asked."""

    FAILURE_HOLDS_S = 1.0
    """How long a failure to get a token is taken as the answer for all: many calls wait for it at once."""

    def __init__(self, settings: ConnectionSettings, authenticate: Authenticate) -> None:
        self._username = settings.username
        self._password = settings.password
        self._authenticate = authenticate
        self._token: str | None = None
        self._failure: EtcdopsError | None = None
        self._failed_at = 0.0
        self._lock = asyncio.Lock()

    @property
    def usable(self) -> bool:
        """Whether a token could be had at all."""
        return self._password is not None

    def discard(self) -> None:
        """The token was refused: the next `token` asks for a new one."""
        self._token = None

    async def token(self, timeout_s: float) -> str:
        """The token to send, "" when none is needed. Raises: AccessDenied, Refused, Unreachable, Unhealthy."""
        if self._password is None:
            return ""
        try:
            async with asyncio.timeout(timeout_s), self._lock:
                # One request however many callers wait: authenticating costs a member a bcrypt comparison.
                if self._token is None:
                    self._token = await self._fetch(self._password.reveal(), timeout_s)
                return self._token
        except TimeoutError as error:
            raise Unreachable(f"no token for user {self._username!r} within {timeout_s:.1f} s") from error

    async def _fetch(self, password: str, timeout_s: float) -> str:
        if self._failure is not None and time.monotonic() - self._failed_at < self.FAILURE_HOLDS_S:
            raise self._failure
        self._failure = None
        try:
            return await self._authenticate(self._username, password, timeout_s)
        except Refused as error:
            # Credentials for a cluster without authentication are not an error, as for etcdctl.
            if "authentication is not enabled" not in error.text:
                raise
            return ""
        except (Unreachable, Unhealthy) as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
