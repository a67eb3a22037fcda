"""The order of what is sent on a channel: nothing follows our answer to a close, whatever the threads do."""

from __future__ import annotations

import threading
from collections.abc import Callable

import paramiko
import pytest
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_DATA, MSG_CHANNEL_EOF
from paramiko.message import Message

from etcdops.remote import ssh_channel
from etcdops.remote.ssh_channel import OrderedTransport

_NAMES = {MSG_CHANNEL_DATA: "data", MSG_CHANNEL_EOF: "eof", MSG_CHANNEL_CLOSE: "close"}


class Wire:
    """A transport that notes what is sent, and does something else just before it sends the first of a kind."""

    def __init__(self, channel: paramiko.Channel, before: str) -> None:
        self.channel = channel
        self.before = before
        self.sent: list[str] = []

    def _send_user_message(self, message: Message) -> None:
        name = _NAMES[message.asbytes()[0]]
        if name == self.before:
            self.before = ""
            other = threading.Thread(target=self.close_from_the_other_side)
            other.start()
            other.join(10)
            assert not other.is_alive(), "the thread that reads must never wait for one that sends"
        self.sent.append(name)

    def close_from_the_other_side(self) -> None:
        """As the transport's own thread does it."""
        OrderedTransport._channel_handler_table[MSG_CHANNEL_CLOSE](self.channel, Message())

    def _unlink_channel(self, number: int) -> None: ...

    def _sanitize_packet_size(self, size: int) -> int:
        return size

    def _sanitize_window_size(self, size: int) -> int:
        return size

    def get_log_channel(self) -> str:
        return "test"


@pytest.fixture
def wire(request: pytest.FixtureRequest) -> Wire:
    channel = paramiko.Channel(1)
    made = Wire(channel, request.param)
    channel._set_transport(made)  # type: ignore[attr-defined]  # what a transport does when it opens one
    channel._set_window(1 << 20, 1 << 15)  # type: ignore[attr-defined]
    channel._set_remote_channel(7, 1 << 20, 1 << 15)  # type: ignore[attr-defined]
    channel.active = True
    return made


def end(channel: paramiko.Channel) -> None:
    ssh_channel.end_sending(channel)


def feed(channel: paramiko.Channel) -> None:
    ssh_channel.send_all(channel, b"x" * 10)


@pytest.mark.parametrize(
    ("wire", "work", "sent"),
    [("eof", end, ["eof", "close"]), ("data", feed, ["data", "eof", "close"]), ("", end, ["eof"])],
    indirect=["wire"],
)
def test_a_close_that_comes_while_we_send_is_answered_after_that(
    wire: Wire, work: Callable[[paramiko.Channel], None], sent: list[str]
) -> None:
    """OpenSSH ends the whole connection when anything follows our answer to its close."""
    work(wire.channel)
    assert wire.sent == sent


@pytest.mark.parametrize("wire", [""], indirect=True)
def test_on_a_closed_channel_nothing_is_sent(wire: Wire) -> None:
    """The end of data is not needed any more; data is refused."""
    wire.close_from_the_other_side()
    ssh_channel.end_sending(wire.channel)
    with pytest.raises(OSError, match="closed"):
        ssh_channel.send_all(wire.channel, b"x")
    ssh_channel.close(wire.channel)
    assert wire.sent == ["eof", "close"]
