"""Every bound of the client port in one place."""

from __future__ import annotations

from dataclasses import dataclass

from etcdops.node.config import Config

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds and deadlines of a listener and its connections. Defaults fit etcd's."""

    receive_bytes_max: int = 2 * MIB
    """Largest message accepted: max-request-bytes + 512 KiB."""

    streams_max: int = 10_000
    """Calls a connection may have open; more are refused, which clients may retry."""

    connections_max: int | None = None
    """Connections at a time; None: what the process may open, less 150 files for itself. More wait to be accepted."""

    stream_mark_bytes: int = MIB
    """Above this much waiting to be sent, `StreamCall.send` returns False; below half of it `on_writable` follows."""

    incomplete_bytes_max: int = 64 * MIB
    """Bytes of unfinished requests one connection may make the server hold."""

    backlog_bytes_max: int = 256 * MIB
    """Bytes of unsent answers of one connection above which its new calls are refused."""

    keepalive_min_time_s: float = 5.0
    """Pings that come sooner are an offence; the third one ends the connection."""

    keepalive_interval_s: float = 7200.0
    """Silence after which a client is pinged; 0: never."""

    keepalive_timeout_s: float = 20.0
    """How long it may take to answer; also how long unacknowledged bytes may wait in the network. 0: no limit."""

    first_bytes_timeout_s: float = 10.0
    """A new connection must say by then what it speaks."""

    http_header_timeout_s: float = 10.0
    """The header of an HTTP/1.1 request must be complete by then, and no body may pause longer than six times this."""

    http_idle_timeout_s: float = 75.0
    """An HTTP/1.1 connection without a request is closed then."""

    resets_burst: int = 2_000
    """Calls a client may give up at once before it is disconnected (rapid reset, CVE-2023-44487)."""

    resets_per_s: float = 200.0
    """And as many more every second."""

    controls_burst: int = 1_000
    """Frames without content a client may send at once before it is disconnected."""

    controls_per_s: float = 100.0
    """And as many more every second."""

    @classmethod
    def from_config(cls, config: Config) -> Limits:
        """The limits a member's flags ask for."""
        return cls(
            receive_bytes_max=config.receive_bytes_max,
            streams_max=config.max_concurrent_streams,
            keepalive_min_time_s=config.grpc_keepalive_min_time_s,
            keepalive_interval_s=config.grpc_keepalive_interval_s,
            keepalive_timeout_s=config.grpc_keepalive_timeout_s,
        )
