"""The client: one object for one cluster, with a part for each of etcd's services."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from etcdops.client import tls
from etcdops.client.auth import Auth
from etcdops.client.caller import Caller
from etcdops.client.cluster import Cluster
from etcdops.client.kv import KV
from etcdops.client.lease import Lease
from etcdops.client.maintenance import Maintenance
from etcdops.client.settings import ConnectionSettings
from etcdops.client.watch import Watch


class Client:
    """An async client of any etcd: `async with Client(settings) as client: await client.kv.get("key")`.

    Nothing is connected before the first request. Requests go to the endpoints in turn and to the next one when one
    fails; `endpoint=` asks that member only. Every request ends within its `timeout` (seconds). Belongs to the event
    loop it is used on.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._caller = Caller(settings)
        self.kv = KV(self._caller)
        self.watch = Watch(self._caller)
        self.lease = Lease(self._caller)
        self.cluster = Cluster(self._caller)
        self.maintenance = Maintenance(self._caller)
        self.auth = Auth(self._caller)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints of the settings, each as a URL."""
        return self._caller.endpoints

    @property
    def notices(self) -> list[str]:
        """Sentences a user should see, e.g. which unverified certificate is trusted; grows while the client works."""
        return self._caller.pool.notices

    async def __aenter__(self) -> Self:
        """Raises: UsageError - a certificate or key that the settings name cannot be used: no member would hear us."""
        if self.settings.uses_tls:
            tls.read_files(self.settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests still under way fail."""
        await self._caller.close()
