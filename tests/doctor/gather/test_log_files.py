"""Logs as files: what a span leaves out, bounds, and hosts that fail."""

from __future__ import annotations

from pathlib import Path

from etcdops.doctor.gather import log_files
from etcdops.doctor.gather.log_files import Span, fetch_logs
from etcdops.doctor.gather.logs import Logged
from etcdops.errors import Unreachable
from etcdops.inventory.model import ServiceSpec
from etcdops.remote.command import Command
from etcdops.remote.session import Result, Session
from tests.doctor.gather.test_logs import M1, OLD, STOPPED, journal
from tests.fakes.session import FakeSession, said

M2 = Logged("m2", "h2", ServiceSpec())


async def test_each_member_has_its_log_and_a_host_that_fails_its_reason(tmp_path: Path) -> None:
    """In the order of the members."""

    async def connect(host: str) -> Session:
        if host == "h2":
            raise Unreachable("h2 cannot be reached")
        return journal(OLD)

    first, second = await fetch_logs(connect, [M1, M2], Span(since=1.0), tmp_path)
    assert first.value is not None
    (log,) = first.value
    assert (log.source.name, log.lines, log.is_older, log.path.read_text()) == ("m1", 1, False, f"{OLD}\n")
    assert second.error is not None and second.error.message == "h2 cannot be reached"  # noqa: PT018  # one outcome


async def test_of_a_member_that_is_long_gone_the_last_words_are_taken(tmp_path: Path) -> None:
    """A window without a line says nothing of why it ended."""
    session = FakeSession()
    session.answer("systemctl", "show", result=said(STOPPED))

    def answer(asked: Command) -> Result:
        return said("" if any(str(word).startswith("--since") for word in asked.argv) else OLD)

    session.answer("journalctl", result=answer)

    async def connect(_: str) -> Session:
        return session

    (outcome,) = await fetch_logs(connect, [M1], Span(since=5e9), tmp_path)
    assert outcome.value is not None
    assert (outcome.value[0].is_older, outcome.value[0].lines) == (True, 1)


def test_of_a_log_that_is_too_big_the_end_is_kept(tmp_path: Path) -> None:
    """Whatever its lines are like."""
    path = tmp_path / "big.log"
    with log_files._Ring(path, size_max=100) as ring:
        for number in range(50):
            ring.add(b"line %03d\n" % number)
    kept = path.read_text().splitlines()
    assert kept == [f"line {number:03}" for number in range(50 - len(kept), 50)]
    assert (ring.is_cut, ring.lines) == (True, len(kept))
    assert 5 <= len(kept) <= 11
    assert list(tmp_path.iterdir()) == [path]
