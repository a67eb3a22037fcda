"""`etcdops node`: one member as a process. The composition root: configuration in, sockets and files out.

Exit status: 0 after SIGTERM or SIGINT, and when the member was removed from its cluster, now or before (as etcd); 1
when it refused to start or its disk failed; 2 for flags that cannot be read.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from etcdops import __version__
from etcdops.clock import SystemClock
from etcdops.errors import EtcdopsError, ExitCode, MemberRemoved, StartRefused, UsageError
from etcdops.node import zap_log
from etcdops.node.config import Config, PrintAndExit, load_config
from etcdops.node.config.urls import host_and_port
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.listener import Listener, serve
from etcdops.node.rpc.service import Methods
from etcdops.node.server.bootstrap import boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.loop_errors import LoopErrors
from etcdops.node.server.server import Server
from etcdops.node.sockets import prove_bindable
from etcdops.node.tls.member import MemberTls, open_tls
from etcdops.node.tls.server import ServerTls
from etcdops.node.version import SERVER_VERSION
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

_CLIENT_GRACE_S = 1.0
"""How long open calls may go on once the member stops."""

_GC_THRESHOLD = 50_000
"""A member makes many short-lived objects and few cycles: looking for cycles every 700 of them costs several
percent.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    zap_log.configure()
    try:
        config = load_config(arguments, os.environ)
    except PrintAndExit as text:
        print(text)  # noqa: T201 - help and version go to standard output
        return ExitCode.OK
    except UsageError as error:
        return _refused(error)
    except StartRefused as error:
        return _refused(error)
    try:
        zap_log.configure(level=config.log_level, outputs=config.log_outputs, log_format=config.log_format)
    except OSError as error:
        return _refused(
            StartRefused(f"cannot open the log {error.filename}: {error.strerror}", hint="correct --log-outputs")
        )
    gc.set_threshold(_GC_THRESHOLD)
    # Whatever a member writes holds other people's data.
    os.umask(0o077)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(config))
    except MemberRemoved as error:
        _log_removed(error.message, config.data_dir)
        _tell(error)
        return int(error.exit_code)
    except EtcdopsError as error:
        return _refused(error)


def _refused(error: EtcdopsError) -> int:
    """In the log for machines, as etcd does; and in three plain lines for whoever started it by hand."""
    log.critical("failed to start the member", extra=fields(error=error.message))
    _tell(error)
    return int(error.exit_code)


def _tell(error: EtcdopsError) -> None:
    for line in error.lines():
        print(line, file=sys.stderr)  # noqa: T201


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        # Not on every platform; asyncio's own loop does the same, slower.
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _run(config: Config) -> int:
    _announce(config)
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _on_signal, number, told_to_stop)
    tls = open_tls(config)
    directory = DataDir.open(Path(config.data_dir), Path(config.wal_dir) if config.wal_dir else None)
    try:
        # Before anything is written: a member that cannot serve has not begun a cluster either.
        prove_bindable(host_and_port(url) for url in _listen_urls(config))
        started = await boot(config, directory, tls.dial)
    except BaseException:
        directory.discard()
        raise
    server = Server(config, directory, started, SystemClock(), tls)
    LoopErrors(server.failed).install(asyncio.get_running_loop())
    listeners: list[Listener] = []
    try:
        await _listen(config, tls, server, listeners)
        await server.start()
        await _until_told_or_ended(server, told_to_stop)
    finally:
        _log_end("closing etcd server", config)
        for listener in listeners:
            await listener.stop(_CLIENT_GRACE_S)
        await server.stop()
        _log_end("closed etcd server", config)
    return _exit_status(server)


def _announce(config: Config) -> None:
    log.info(
        "starting an etcd server",
        extra=fields(
            etcd_version=SERVER_VERSION,
            implementation=f"etcdops {__version__}",
            name=config.name,
            data_dir=config.data_dir,
            initial_advertise_peer_urls=config.initial_advertise_peer_urls,
            listen_peer_urls=config.listen_peer_urls,
            advertise_client_urls=config.advertise_client_urls,
            listen_client_urls=config.listen_client_urls,
            listen_metrics_urls=config.listen_metrics_urls,
            heartbeat_interval=f"{config.heartbeat_interval_ms}ms",
            election_timeout=f"{config.election_timeout_ms}ms",
            initial_cluster=config.initial_cluster,
            initial_cluster_state=config.initial_cluster_state,
            initial_cluster_token=config.initial_cluster_token,
            snapshot_count=config.snapshot_count,
            strict_reconfig_check=config.strict_reconfig_check,
            pre_vote=config.pre_vote,
        ),
    )


def _listen_urls(config: Config) -> Iterator[str]:
    yield from config.listen_peer_urls
    yield from config.listen_client_urls
    yield from config.listen_metrics_urls


def _log_end(message: str, config: Config) -> None:
    """Source: etcd server/embed/etcd.go, Close."""
    log.info(
        message,
        extra=fields(
            name=config.name,
            data_dir=config.data_dir,
            advertise_peer_urls=config.initial_advertise_peer_urls,
            advertise_client_urls=config.advertise_client_urls,
        ),
    )


def _on_signal(number: int, told_to_stop: asyncio.Event) -> None:
    name = signal.Signals(number).name.removeprefix("SIG").lower()
    log.info("received signal; shutting down", extra=fields(signal=name))
    told_to_stop.set()


async def _listen(config: Config, tls: MemberTls, server: Server, listeners: list[Listener]) -> None:
    """Open the client port and the metrics port. Raises: StartRefused when one is taken."""
    services = server.services
    limits = Limits.from_config(config)
    methods, http = services.methods(), services.http.handle
    for addresses, with_tls in _by_scheme(config.listen_client_urls, tls.client):
        listeners.append(await serve(addresses, methods, http, limits, tls=with_tls))
    log.info("listening for clients", extra=fields(address=", ".join(config.listen_client_urls)))
    if config.listen_metrics_urls:
        for addresses, with_tls in _by_scheme(config.listen_metrics_urls, tls.metrics):
            listeners.append(await serve(addresses, Methods({}), http, limits, tls=with_tls))
        log.info("serving metrics", extra=fields(address=", ".join(config.listen_metrics_urls)))


def _by_scheme(urls: Sequence[str], tls: ServerTls | None) -> Iterator[tuple[list[tuple[str, int]], ServerTls | None]]:
    """Addresses to listen on without TLS, and those with it."""
    for scheme, with_tls in (("http:", None), ("https:", tls)):
        if addresses := [host_and_port(url) for url in urls if url.startswith(scheme)]:
            yield addresses, with_tls


async def _until_told_or_ended(server: Server, told_to_stop: asyncio.Event) -> None:
    ended = asyncio.ensure_future(server.wait_ended())
    told = asyncio.ensure_future(told_to_stop.wait())
    await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
    for waiting in (ended, told):
        waiting.cancel()


def _exit_status(server: Server) -> int:
    """A removed member ends quietly, so that no supervisor starts it over and over (etcd does the same)."""
    ending = server.ending
    if ending is None:
        return int(ExitCode.OK)
    if ending.error is None:
        _log_removed(ending.reason, server.data_dir)
        return int(ExitCode.OK)
    log.critical("the member stopped", extra=fields(reason=ending.reason, error=ending.error.message))
    _tell(ending.error)
    return int(ExitCode.FAILED)


def _log_removed(reason: str, data_dir: str) -> None:
    """In etcd's words. Source: etcd server/etcdserver/server.go, run."""
    log.warning("server error", extra=fields(error=reason))
    log.warning("data-dir used by this member must be removed", extra=fields(data_dir=data_dir))
