"""What the client port answers to HTTP/1.1: health, versions and metrics, in etcd's words.

Source: etcd server/etcdserver/api/etcdhttp/health.go, base.go, metrics.go.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from etcdops.ids import NO_MEMBER
from etcdops.node.api.errors import NO_LEADER, EtcdError
from etcdops.node.api.metrics_text import CONTENT_TYPE, MetricsPage
from etcdops.node.api.port import ServerPort
from etcdops.node.apply.alarms import AlarmType
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[EtcdError | str | None]]
"""One health check: None when all is well, else what is wrong."""

_NOT_DECIDED = "not_decided"
_FOREIGN_HOST = "etcd received your request, but the Host header was unrecognized: add it to --host-whitelist.\n"


class HttpHandlers:
    """The handler for rpc/listener.py, and for a port of its own with listen-metrics-urls."""

    def __init__(self, server: ServerPort) -> None:
        self._server = server
        self._metrics = MetricsPage(server)
        self._checks: dict[str, dict[str, Check]] = {
            "livez": {"serializable_read": self._check_serializable_read},
            "readyz": {
                "data_corruption": self._check_corruption,
                "serializable_read": self._check_serializable_read,
                "linearizable_read": self._check_linearizable_read,
            },
        }
        self._pages: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            "/health": self._health,
            "/version": self._version,
            "/metrics": self._show_metrics,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request; 404 for paths that are not there, 421 for hosts that `--host-whitelist` leaves out."""
        if self._refuses_host(request):
            log.warning(
                "rejecting HTTP request to prevent DNS rebinding attacks",
                extra=fields(host=request.headers.get("Host")),
            )
            return web.Response(status=421, text=_FOREIGN_HOST)
        response = await self._answer(request)
        response.headers.update(self._cors(request.headers.get("Origin", "")))
        return response

    def _cors(self, origin: str) -> dict[str, str]:
        """What lets a page from elsewhere read the answer. Source: etcd server/embed/serve.go, addCORSHeader."""
        allowed = self._server.limits.cors
        if "*" not in allowed and origin not in allowed:
            return {}
        return {
            "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE",
            "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
            "Access-Control-Allow-Headers": "accept, content-type, authorization",
        }

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response()  # a browser asks before a page calls from elsewhere
        # What begins with two slashes would be taken for a host.
        asked = request.raw_path if request.raw_path.startswith("//") else request.path
        if (path := cleaned(asked)) != asked:
            moved = _MOVED.format(path)
            return web.Response(status=301, headers={"Location": path}, text=moved, content_type="text/html")
        page = self._pages.get(path)
        if page is None:
            _, kind, *check = path.split("/")
            known = self._checks.get(kind, {})
            if known and (not check or (len(check) == 1 and check[0] in known)):
                return await self._check(request, kind, check)
            return web.Response(status=404, text="404 page not found\n", headers=_NO_SNIFF)
        return await page(request)

    def _refuses_host(self, request: web.BaseRequest) -> bool:
        """CVE-2018-1099. Source: etcd server/embed/serve.go, accessController."""
        allowed = self._server.limits.host_whitelist
        if "*" in allowed or request.secure:
            return False
        host = request.headers.get("Host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return name.strip("[]") not in allowed

    async def _show_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _version(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "GET":
            return _only_get()
        return web.Response(body=self.version_json(), content_type="application/json")

    def version_json(self) -> bytes:
        """Also what the peer port answers."""
        shown = {
            "etcdserver": self._server.version,
            "etcdcluster": self._server.applier.cluster_version or _NOT_DECIDED,
        }
        return json.dumps(shown, separators=(",", ":")).encode()

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "GET":
            return _only_get()
        excluded = {name for name in request.query.getall("exclude", []) if name}
        serializable = request.query.get("serializable") == "true"
        reason = await self._unhealthy_because(excluded, serializable)
        healthy = not reason
        shown = json.dumps({"health": "true" if healthy else "false", "reason": reason}, separators=(",", ":"))
        metrics = self._server.metrics
        if healthy:
            metrics.health_successes += 1
            return web.Response(text=shown, content_type="text/plain")
        metrics.health_failures += 1
        log.warning("/health error", extra=fields(output=shown, status_code=503))
        return web.Response(status=503, text=shown + "\n", content_type="text/plain")

    async def _unhealthy_because(self, excluded: set[str], serializable: bool) -> str:
        for alarm in self._server.applier.alarms.raised():
            if alarm.type.name not in excluded:
                return f"ALARM {alarm.type.name}"
        if serializable:
            return ""
        if self._server.leader == NO_MEMBER:
            return "RAFT NO LEADER"
        error = await self._linearize()
        return f"RANGE ERROR:{error.text}" if error is not None else ""

    async def _check(self, request: web.BaseRequest, kind: str, names: Sequence[str]) -> web.StreamResponse:
        """`/livez` and `/readyz`, all checks or one."""
        if request.method != "GET":
            return _only_get()
        excluded = set() if names else set(request.query.getall("exclude", []))
        lines = []
        failed = False
        for name, check in self._checks[kind].items():
            if (names and name not in names) or name in excluded:
                continue
            problem = await check()
            failed = failed or problem is not None
            text = problem.text if isinstance(problem, EtcdError) else problem
            lines.append(f"[+]{name} ok\n" if problem is None else f"[-]{name} failed: {text}\n")
        report = "".join(lines)
        if failed:
            log.error("Health check error", extra=fields(path=request.path, reason=report, status_code=503))
            return web.Response(status=503, text=report + "\n", headers=_NO_SNIFF)
        shown = report + "ok\n" if "verbose" in request.query else "ok\n"
        return web.Response(text=shown, headers=_NO_SNIFF)

    async def _check_corruption(self) -> EtcdError | str | None:
        corrupt = self._server.applier.alarms.raised(AlarmType.CORRUPT)
        return "alarm activated: CORRUPT" if corrupt else None

    async def _check_serializable_read(self) -> EtcdError | str | None:
        self._server.state.mvcc.get(b"\x00")
        return None

    async def _check_linearizable_read(self) -> EtcdError | str | None:
        return NO_LEADER if self._server.leader == NO_MEMBER else await self._linearize()

    async def _linearize(self) -> EtcdError | None:
        """The driver bounds how long this takes."""
        answered: asyncio.Future[EtcdError | None] = asyncio.get_running_loop().create_future()

        def done(error: EtcdError | None) -> None:
            if not answered.done():
                answered.set_result(error)

        self._server.linearize(done)
        return await answered


_MOVED = '<a href="{}">Moved Permanently</a>.\n\n'
_NO_SNIFF = {"X-Content-Type-Options": "nosniff"}


def cleaned(path: str) -> str:
    """A path without empty parts and dots: Go sends clients there. Source: net/http server.go, cleanPath."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    clean = "/" + "/".join(parts)
    return clean + "/" if path.endswith("/") and parts else clean


def _only_get() -> web.Response:
    return web.Response(status=405, text="Method Not Allowed\n", headers={"Allow": "GET", **_NO_SNIFF})
