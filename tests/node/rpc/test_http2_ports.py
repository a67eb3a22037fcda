"""Both HTTP/2 ports meet the contract, and agree on any stream of bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.h2_port import H2Port
from etcdops.node.rpc.http2 import PortFactory
from tests.contracts.http2_port import Event, Http2PortContract, Recorder
from tests.fakes.http2_client import FakeClient, call_headers


class TestH2Port(Http2PortContract):
    @pytest.fixture
    def port_factory(self) -> PortFactory:
        return H2Port


class TestFramePort(Http2PortContract):
    @pytest.fixture
    def port_factory(self) -> PortFactory:
        return FramePort


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """What a well-behaved client may send: calls, data in any pieces, pings, windows, settings."""
    client = FakeClient()
    sent = client.hello()
    open_streams: list[int] = []
    for _ in range(draw(st.integers(1, 25))):
        action = draw(st.sampled_from(["open", "open", "data", "data", "end", "ping", "window", "settings", "unknown"]))
        if action == "open":
            end = draw(st.booleans())
            tokens = draw(st.sampled_from(["", "a", "b" * 50, "Ünï"]))
            stream_id, headers = client.headers(call_headers("/a.B/C", ("x-token", tokens)), end=end)
            sent += headers
            if not end:
                open_streams.append(stream_id)
        elif action == "data" and open_streams:
            padding = draw(st.sampled_from([None, None, 0, 9]))
            sent += client.data(draw(st.sampled_from(open_streams)), draw(st.binary(max_size=300)), padding=padding)
        elif action == "end" and open_streams:
            stream_id = open_streams.pop()
            sent += client.data(stream_id, draw(st.binary(max_size=20)), end=True)
        elif action == "ping":
            sent += client.ping(draw(st.binary(min_size=8, max_size=8)))
        elif action == "window":
            sent += client.window_update(draw(st.sampled_from([0, *open_streams])), draw(st.integers(1, 10_000)))
        elif action == "settings":
            sent += client.settings_frame({4: draw(st.integers(0, 100_000))})
        elif action == "unknown":
            sent += client.raw_frame(0x20, 0, 0, b"?")
    return sent


def _events(factory: PortFactory, pieces: list[bytes]) -> list[Event]:
    recorder = Recorder()
    recorder.port = port = factory(recorder, 1000)
    for piece in pieces:
        port.receive(piece)
        port.take()
    return recorder.events


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(conversations(), st.lists(st.integers(0, 1_000_000), max_size=30))
def test_any_split_of_the_bytes_gives_the_same_events_in_both_ports(sent: bytes, cuts: list[int]) -> None:
    """TCP may cut anywhere; the reference decides what the events are."""
    expected = _events(H2Port, [sent])
    assert _events(H2Port, _cut(sent, cuts)) == expected
    assert _events(FramePort, [sent]) == expected
    assert _events(FramePort, _cut(sent, cuts)) == expected


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), conversations(), st.integers(0, 1_000_000), st.sampled_from([H2Port, FramePort]))
def test_no_bytes_make_a_port_raise(noise: bytes, sent: bytes, at: int, factory: PortFactory) -> None:
    """Damaged streams end the connection, never the process."""
    place = at % (len(sent) + 1)
    _events(factory, [sent[:place] + noise + sent[place:]])
