"""Asking a peer every few seconds whether it is there and what time it has there.

etcd probes once per round-tripper and logs everything twice; one probe says the same.
Sources: github.com/xiang90/probing prober.go; etcd server/etcdserver/api/rafthttp/probing_status.go.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import aiohttp

from etcdops.clock import Clock
from etcdops.ids import MemberID, format_id
from etcdops.node.peer.environment import Environment, error_words
from etcdops.node.peer.status import PeerStatus
from etcdops.node.peer.stream import IO_TIMEOUT_S
from etcdops.node.peer.urls import UrlPicker
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

PATH = "/raft/probing"
INTERVAL_S = IO_TIMEOUT_S - 1.0
CLOCK_DRIFT_S_MAX = 1.0
"""Beyond this an operator hears about it: leases and certificates depend on clocks that agree."""

_REPORT_UNHEALTHY_S = 5.0
_REPORT_HEALTHY_S = 30.0
_SMOOTHING = 0.125
_ANSWER_BYTES_MAX = 4096
_ROUND_TRIPPER = "ROUND_TRIPPER_RAFT_MESSAGE"


class ProbeFailed(Exception):
    """No answer, or none that says the peer is well."""


def answer(clock: Clock) -> bytes:
    """What GET /raft/probing answers."""
    now = datetime.fromtimestamp(clock.wall(), UTC)
    return json.dumps({"OK": True, "Now": now.isoformat().replace("+00:00", "Z")}, separators=(",", ":")).encode()


def parse_answer(body: bytes) -> float:
    """The peer's time, in Unix seconds. Raises: ProbeFailed."""
    try:
        parsed = json.loads(body)
        if parsed["OK"] is not True:
            raise ProbeFailed("the peer says that it is not well")
        return datetime.fromisoformat(parsed["Now"]).timestamp()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ProbeFailed(f"not an answer to a probe: {body[:80]!r}") from error


class Probe:
    """Health of one peer's port, told to the log when it is bad."""

    def __init__(self, environment: Environment, peer: MemberID, urls: Sequence[str], status: PeerStatus) -> None:
        self._environment = environment
        self._picker = UrlPicker(urls)
        self._stats = status.stats
        self._peer = format_id(peer)
        self._error = ""
        self._answered = False
        self._drift_s = 0.0
        self._timeout = aiohttp.ClientTimeout(total=IO_TIMEOUT_S, sock_connect=environment.dial_timeout_s)

    def update(self, urls: Sequence[str]) -> None:
        """Ask at other URLs from now on."""
        self._picker.update(urls)

    async def run(self) -> None:
        """Probe and report. Ends only by being cancelled."""
        loop = asyncio.get_running_loop()
        next_probe, next_report = loop.time(), loop.time() + _REPORT_UNHEALTHY_S
        while True:
            await self._probe()
            if loop.time() >= next_report:
                self._report()
                next_report = loop.time() + (_REPORT_UNHEALTHY_S if self._error else _REPORT_HEALTHY_S)
            next_probe = max(next_probe + INTERVAL_S, loop.time())
            await asyncio.sleep(next_probe - loop.time())

    async def _probe(self) -> None:
        url = self._picker.pick()
        clock, stats = self._environment.clock, self._stats
        started = clock.monotonic()
        try:
            there = parse_answer(await self._ask(url + PATH))
        except ProbeFailed as error:
            self._error = str(error)
            self._picker.unreachable(url)
            return
        took = clock.monotonic() - started
        stats.round_trip_s += (took - stats.round_trip_s) * (_SMOOTHING if self._answered else 1.0)
        stats.round_trips_s.observe(took)
        self._answered = True
        self._drift_s = clock.wall() - there - stats.round_trip_s / 2
        self._error = ""

    async def _ask(self, url: str) -> bytes:
        try:
            async with await self._environment.dialer.request("GET", url, timeout=self._timeout) as response:
                body = await response.content.read(_ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProbeFailed(error_words(error)) from error
        if response.status != 200:
            raise ProbeFailed(f"got unexpected HTTP status code {response.status} {response.reason} from {url}")
        return body

    def _report(self) -> None:
        about = {
            "round-tripper-name": _ROUND_TRIPPER,
            "remote-peer-id": self._peer,
            "rtt": timedelta(seconds=self._stats.round_trip_s),
        }
        if self._error:
            _logger.warning("prober detected unhealthy status", extra=fields(about, error=self._error))
        drift = abs(self._drift_s)
        if drift > CLOCK_DRIFT_S_MAX:
            _logger.warning("prober found high clock drift", extra=fields(about, clock_drift=timedelta(seconds=drift)))
