"""Both streams under any chunking, and against senders that lie about lengths."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.peer import codec, framing
from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.peer.framing import FramingError, MessageDecoder, MessageEncoder, MsgAppDecoder, MsgAppEncoder
from etcdops.node.raft.types import Message, MessageType
from tests.node.peer import strategies
from tests.node.peer.support import append, heartbeat

DATA = Path(__file__).parent / "data"
LOCAL, REMOTE = MemberID(1), MemberID(2)
HUGE = struct.pack(">Q", (1 << 64) - 1)


@given(st.data(), st.lists(strategies.messages, max_size=5))
def test_messages_pass_the_message_stream_in_any_portions(data: st.DataObject, messages: list[Message]) -> None:
    """What was encoded comes out, in order, however the network cuts it. Link heartbeats do not."""
    encoder, decoder = MessageEncoder(), MessageDecoder()
    wire = b"".join(encoder.encode(message) + encoder.heartbeat for message in messages)
    came = [message for part in data.draw(strategies.portions(wire)) for message in decoder.feed(part)]
    quiet = (MessageType.HEARTBEAT, 0, 0)
    assert came == [message for message in messages if (message.type, message.to, message.from_) != quiet]


@given(st.data(), strategies.append_streams())
def test_appends_pass_the_msgapp_stream_in_any_portions(data: st.DataObject, messages: list[Message]) -> None:
    """Implied terms and indexes come out as they went in."""
    encoder, decoder = MsgAppEncoder(), MsgAppDecoder(LOCAL, REMOTE)
    wire = b"".join(encoder.encode(message) + encoder.heartbeat for message in messages)
    came = [message for part in data.draw(strategies.portions(wire)) for message in decoder.feed(part)]
    assert came == messages


@given(st.data(), st.binary(max_size=60))
def test_any_bytes_are_messages_or_malformed(data: st.DataObject, wire: bytes) -> None:
    """No other exception, on either stream, however it is cut."""
    for decoder in (MessageDecoder(), MsgAppDecoder(LOCAL, REMOTE)):
        try:
            for part in data.draw(strategies.portions(wire)):
                decoder.feed(part)
        except MalformedMessage:
            pass


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_streams_of_a_real_leader_encode_back_to_the_same_bytes(version: str) -> None:
    """Recorded from etcd: an election, conf changes, puts, a delete, heartbeats; link heartbeats were cut out."""
    data = (DATA / f"etcd-{version}-message.bin").read_bytes()
    encoder = MessageEncoder()
    messages = MessageDecoder().feed(data)
    assert {MessageType.VOTE, MessageType.HEARTBEAT} <= {message.type for message in messages}
    assert b"".join(map(encoder.encode, messages)).hex(" ") == data.hex(" ")

    data = (DATA / f"etcd-{version}-msgapp.bin").read_bytes()
    appender = MsgAppEncoder()
    appends = MsgAppDecoder(LOCAL, REMOTE).feed(data)
    frames = [appender.encode(message) for message in appends]
    assert {frame[0] for frame in frames} == {1, 2}, "both forms were recorded"
    assert b"".join(frames).hex(" ") == data.hex(" ")


def test_records_are_laid_out_as_etcd_lays_them_out() -> None:
    """Source: etcd server/etcdserver/api/rafthttp/msgappv2_codec.go, the tables above msgAppV2Encoder."""
    encoder = MsgAppEncoder()
    assert encoder.heartbeat == b"\x00"
    first = append(REMOTE, LOCAL, 10, 1)
    whole = codec.encode_message(first)
    assert encoder.encode(first) == b"\x02" + struct.pack(">Q", len(whole)) + whole
    second = append(REMOTE, LOCAL, 11, 2)
    sizes = [codec.encode_entry(entry) for entry in second.entries]
    expected = b"\x01" + struct.pack(">Q", 2)
    expected += b"".join(struct.pack(">Q", len(data)) + data for data in sizes)
    assert encoder.encode(second) == expected + struct.pack(">Q", 11)
    assert encoder.encode(append(REMOTE, LOCAL, 13, 0)) == b"\x01" + struct.pack(">QQ", 0, 13)


def test_an_append_elsewhere_travels_whole() -> None:
    """Another index, another term, or entries after a term that ended: nothing may be implied then."""
    for next_one in (
        append(REMOTE, LOCAL, 12, 1),
        append(REMOTE, LOCAL, 11, 1, term=6),
        append(REMOTE, LOCAL, 11, 1)._replace(log_term=Term(4)),
    ):
        encoder = MsgAppEncoder()
        encoder.encode(append(REMOTE, LOCAL, 10, 1))
        assert encoder.encode(next_one)[0] == 2


def test_link_heartbeats_are_etcds() -> None:
    """A whole MsgHeartbeat from nobody to nobody on one stream, a zero byte on the other."""
    data = codec.encode_message(Message(MessageType.HEARTBEAT))
    assert MessageEncoder.heartbeat == struct.pack(">Q", len(data)) + data
    assert MessageDecoder().feed(MessageEncoder.heartbeat) == []


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\x02" + HUGE, id="message"),
        pytest.param(b"\x02" + struct.pack(">Q", framing.MESSAGE_BYTES_MAX + 1), id="just too long"),
        pytest.param(b"\x01" + HUGE, id="number of entries"),
        pytest.param(b"\x01" + struct.pack(">QQ", 1, (1 << 64) - 1), id="entry"),
        pytest.param(b"\x01" + struct.pack(">QQ", 2, 0), id="entry of nothing"),
        pytest.param(b"\x03", id="unknown type"),
    ],
)
def test_hostile_records_are_refused_at_once(wire: bytes) -> None:
    """A length is judged before a byte of what it announces has come, and nothing is reserved for it."""
    decoder = MsgAppDecoder(LOCAL, REMOTE)
    decoder.feed(MsgAppEncoder().encode(append(REMOTE, LOCAL, 10, 1)))
    with pytest.raises(MalformedMessage):
        decoder.feed(wire)


def test_entries_need_a_message_before_them() -> None:
    """At the start of a stream nothing is implied yet."""
    with pytest.raises(FramingError):
        MsgAppDecoder(LOCAL, REMOTE).feed(b"\x01" + struct.pack(">QQ", 0, 5))


def test_a_hostile_length_on_the_message_stream_is_refused() -> None:
    """As etcd's readBytesLimit."""
    with pytest.raises(FramingError):
        MessageDecoder().feed(HUGE)


def test_an_announced_length_reserves_nothing() -> None:
    """512 MiB are announced and 100 bytes come: memory follows what comes."""
    decoder = MessageDecoder()
    tracemalloc.start()
    try:
        decoder.feed(struct.pack(">Q", framing.MESSAGE_BYTES_MAX) + b"x" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_long_message_is_not_copied_with_every_portion() -> None:
    """8 MiB in portions of 1 KiB: quadratic copying would move 32 GiB."""
    message = append(REMOTE, LOCAL, 10, 1, size=8 << 20)
    wire = MessageEncoder().encode(message)
    decoder = MessageDecoder()
    came = [got for start in range(0, len(wire), 1024) for got in decoder.feed(wire[start : start + 1024])]
    assert came == [message]


def test_several_messages_in_one_portion_come_out_together() -> None:
    """What one network read brings is one batch for raft."""
    encoder = MessageEncoder()
    beats = [heartbeat(REMOTE, LOCAL, commit) for commit in range(50)]
    wire = b"".join(map(encoder.encode, beats))
    decoder = MessageDecoder()
    assert decoder.feed(wire[:-1]) == beats[:-1]
    assert decoder.feed(wire[-1:]) == beats[-1:]
    assert beats[0].commit == LogIndex(0)
