"""Probes: what is answered, and what the log says when a peer does not, or its clock is off."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.clock import ManualClock
from etcdops.node.peer import probe
from etcdops.node.peer.probe import ProbeFailed, answer, parse_answer
from tests.node.peer.support import ALICE, BOB, eventually, pair, running


def test_an_answer_gives_the_time() -> None:
    """As github.com/xiang90/probing: OK and Now."""
    assert answer(ManualClock(1_700_000_000.25)) == b'{"OK":true,"Now":"2023-11-14T22:13:20.250000Z"}'
    assert parse_answer(answer(ManualClock(1_700_000_000.25))) == 1_700_000_000.25


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20.123456789Z", "2023-11-15T03:43:20.123456789+05:30"])
def test_gos_times_are_read(text: str) -> None:
    """Nanoseconds, and any zone."""
    assert parse_answer(f'{{"OK":true,"Now":"{text}"}}'.encode()) == pytest.approx(1_700_000_000.123456)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"OK":false,"Now":"2023-11-14T22:13:20Z"}', b'{"OK":true,"Now":5}', b"[" * 4000, b'{"OK":true}'],
)
def test_anything_else_is_a_failed_probe(body: bytes) -> None:
    """Whatever listens there."""
    with pytest.raises(ProbeFailed):
        parse_answer(body)


@pytest.mark.slow
async def test_a_peer_that_does_not_answer_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason in the field where diagnosis looks for it."""
    monkeypatch.setattr(probe, "INTERVAL_S", 0.05)
    monkeypatch.setattr(probe, "_REPORT_UNHEALTHY_S", 0.05)
    async with running(tmp_path, ALICE, peers={BOB: ["http://127.0.0.1:1"]}):
        await eventually(lambda: "prober detected unhealthy status" in caplog.messages)
    about = next(record for record in caplog.records if record.message == "prober detected unhealthy status")
    named = about.__dict__["zap_fields"]
    assert named["remote-peer-id"] == "b0b"
    assert named["error"] == "dial tcp 127.0.0.1:1: connect: connection refused"


@pytest.mark.slow
async def test_a_clock_that_is_off_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """More than a second; the round trip is known by then."""
    monkeypatch.setattr(probe, "INTERVAL_S", 0.05)
    monkeypatch.setattr(probe, "_REPORT_UNHEALTHY_S", 0.05)
    monkeypatch.setattr(probe, "answer", lambda _: answer(ManualClock(1_700_000_000)))
    async with pair(tmp_path) as (alice, _):
        await eventually(lambda: "prober found high clock drift" in caplog.messages)
        assert alice.transport.stats()[BOB].round_trip_s > 0
