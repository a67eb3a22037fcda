"""The peer port's paths that are not raft's: who the members are, versions, and requests meant for the leader.

Sources: etcd server/etcdserver/api/etcdhttp/peer.go; lease/leasehttp/http.go; etcdserver/corrupt.go, hashKVHandler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from etcdops.ids import MemberID
from etcdops.node.peer.answers import BODY_ERRORS, not_found, plain, read_body, wrong_method
from etcdops.node.peer.environment import Environment
from etcdops.node.peer.identity import CLUSTER_ID_MISMATCH
from etcdops.node.peer.port import Answer, PeerRoutes

BODY_BYTES_MAX = 64 * 1024
"""Source: etcd server/lease/leasehttp/http.go since 3.6.13."""

PROMOTE_PREFIX = "/members/promote/"

_PROTOBUF = "application/protobuf"
_JSON = "application/json"


class MemberRoutes:
    """Everything on the peer port but raft."""

    def __init__(self, environment: Environment, routes: PeerRoutes) -> None:
        self._environment = environment
        self._routes = routes
        self._cluster = {"X-Etcd-Cluster-ID": environment.identity.cluster}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request for one of these paths; 404 for any other."""
        path, routes = request.path, self._routes
        if path == "/members":
            return self._members(request)
        if path == "/version":
            return self._version(request)
        if path.startswith(PROMOTE_PREFIX) and routes.promote is not None:
            return await self._promote(request)
        if path == "/leases" and routes.leases is not None:
            return await self._lease(request, routes.leases)
        if path == "/leases/internal" and routes.leases_internal is not None:
            return await self._lease(request, routes.leases_internal)
        if path == "/members/hashkv" and routes.hash_kv is not None:
            return await self._hash_kv(request)
        if path == "/downgrade/enabled" and routes.downgrade_enabled is not None:
            return await self._downgrade_enabled(request)
        return not_found()

    def _members(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            return wrong_method("GET")
        body = self._environment.handler.members_json().rstrip(b"\n") + b"\n"
        return web.Response(body=body, headers={**self._cluster, "Content-Type": _JSON})

    def _version(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            return wrong_method("GET")
        return web.Response(body=self._environment.handler.version_json(), content_type=_JSON)

    async def _promote(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return wrong_method("POST")
        assert self._routes.promote is not None
        text = request.path.removeprefix(PROMOTE_PREFIX)
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < 1 << 64):
            return plain(404, f"member {text[:80]} not found in cluster", self._cluster)
        answer = await self._routes.promote(MemberID(int(text)), request.headers.get("Authorization", ""))
        return self._answered(answer, _JSON)

    async def _lease(self, request: web.BaseRequest, ask: Callable[[bytes], Awaitable[Answer]]) -> web.Response:
        if request.method != "POST":
            return wrong_method("POST")
        return await self._ask(request, ask, _PROTOBUF)

    async def _hash_kv(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            return wrong_method("GET")
        if request.headers.get("X-Etcd-Cluster-ID", self._environment.identity.cluster) not in (
            "",
            self._environment.identity.cluster,
        ):
            return plain(412, CLUSTER_ID_MISMATCH)
        assert self._routes.hash_kv is not None
        return await self._ask(request, self._routes.hash_kv, _JSON)

    async def _downgrade_enabled(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            return wrong_method("GET")
        assert self._routes.downgrade_enabled is not None
        return self._answered(await self._routes.downgrade_enabled(), "text/plain")

    async def _ask(
        self, request: web.BaseRequest, ask: Callable[[bytes], Awaitable[Answer]], content_type: str
    ) -> web.Response:
        try:
            body = await read_body(request, size_max=BODY_BYTES_MAX)
        except BODY_ERRORS:
            return plain(400, "error reading body")
        return self._answered(await ask(body), content_type)

    def _answered(self, answer: Answer, content_type: str) -> web.Response:
        if answer.status != 200:
            return plain(answer.status, answer.body.decode(errors="replace").rstrip("\n"), self._cluster)
        return web.Response(body=answer.body, headers={**self._cluster, "Content-Type": content_type})
