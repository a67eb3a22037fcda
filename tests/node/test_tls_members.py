"""Members with TLS on every port as real processes: etcd's tools, our own client, and a rotation under load."""

from __future__ import annotations

import datetime
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from etcdops.certs.authority import Authority
from etcdops.certs.facts import Use
from etcdops.clock import SystemClock
from etcdops.files import replace_file
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.conftest import MakeCluster
from tests.support import certificates
from tests.support.node_members import node_members
from tests.support.real_etcd import RealCluster, RealMember, Tls, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

HOSTS = ("127.0.0.1", "localhost")


class Pki:
    """An authority, a folder of files for each member, and a client's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create(folder / "authority", "etcd", SystemClock())
        self.handing_out = threading.Lock()
        """Held while a client's two files are replaced: one that reads a mixed pair has only itself to blame."""

    def tls(self, name: str) -> Tls:
        """What the member, or client, of that name uses."""
        home = self.folder / name
        return Tls(home / "ca.crt", home / "tls.crt", home / "tls.key", client_auth=True, peer=True)

    def trust(self, *names: str) -> None:
        """Hand out whom to trust now."""
        for name in names:
            (self.folder / name).mkdir(exist_ok=True)
            replace_file(self.tls(name).ca, self.authority.trusted_pem)

    def issue(self, *names: str) -> None:
        """Hand out new certificates, one file after the other."""
        for name in names:
            tls = self.tls(name)
            use = Use.CLIENT if name == "client" else Use.PEER
            issued = self.authority.issue(use, name, hosts=() if name == "client" else HOSTS, days=30)
            with self.handing_out:
                replace_file(tls.cert, issued.certificate)
                replace_file(tls.key, issued.key.reveal().encode())


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki(tmp_path)
    names = ("m1", "m2", "m3", "client")
    made.trust(*names)
    made.issue(*names)
    return made


def _with_own_files(cluster: RealCluster, pki: Pki) -> None:
    for member in cluster.members:
        member.tls = pki.tls(member.name)


def test_etcdctl_and_etcdops_reach_a_cluster_with_tls_everywhere(
    node_cluster: MakeCluster, pki: Pki, tmp_path: Path
) -> None:
    """The commands an operator begins with; without a certificate there is a reason."""
    cluster = node_cluster(size=3, tls=pki.tls("client"), start=False)
    _with_own_files(cluster, pki)
    cluster.start()
    client = pki.tls("client")
    ctl = _asked_with(cluster, client)
    assert ctl.ctl("put", "key", "value") == "OK\n"
    assert ctl.ctl("get", "key", "--print-value-only") == "value\n"
    listed = json.loads(ctl.ctl("member", "list", "--write-out=json"))["members"]
    assert all(url.startswith("https://") for member in listed for url in (*member["peerURLs"], *member["clientURLs"]))
    ctl.ctl("endpoint", "health")
    _alone(ctl, 0).ctl("snapshot", "save", str(tmp_path / "saved.db"))
    lease = ctl.ctl("lease", "grant", "60").split()[1]
    for number in range(3):  # two of them ask the leader, over its peer port
        assert "remaining" in _alone(ctl, number).ctl("lease", "timetolive", lease)
    status = [sys.executable, "-m", "etcdops", "status", "--endpoints", ",".join(cluster.endpoints)]
    certified = [f"--cacert={client.ca}", f"--cert={client.cert}", f"--key={client.key}"]
    ran = subprocess.run([*status, *certified], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("HEALTHY  3 of 3 voters answer")
    ran = subprocess.run([*status, certified[0]], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 3
    assert "certificate" in ran.stdout + ran.stderr
    assert '"rejected connection on client endpoint"' in cluster.members[0].log.read_text()
    assert "tls: client didn't provide a certificate" in cluster.members[0].log.read_text()


def _asked_with(cluster: RealCluster, tls: Tls) -> RealCluster:
    """The same members, for asking with a client's certificate."""
    return RealCluster(cluster.binaries, [replace(member, tls=tls, process=None) for member in cluster.members])


def _alone(cluster: RealCluster, number: int) -> RealCluster:
    return RealCluster(cluster.binaries, [cluster.members[number]])


class Writer:
    """Puts keys one after the other, each over a connection of its own or all over one."""

    def __init__(self, member: RealMember, tls: Tls, handing_out: threading.Lock, *, anew: bool) -> None:
        self._address = member.url.removeprefix("https://")
        self._tls = tls
        self._handing_out = handing_out
        self._anew = anew
        self._label = f"{member.name}-{anew}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.written = 0
        self.failures: list[str] = []

    def _channel(self) -> grpc.Channel:
        with self._handing_out:
            files = [path.read_bytes() for path in (self._tls.ca, self._tls.key, self._tls.cert)]
        credentials = grpc.ssl_channel_credentials(*files)
        options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
        return grpc.secure_channel(self._address, credentials, options=options)

    def _run(self) -> None:
        channel = self._channel()
        while not self._stop.is_set():
            put = channel.unary_unary(
                "/etcdserverpb.KV/Put", pb.PutRequest.SerializeToString, pb.PutResponse.FromString
            )
            key = f"{self._label}-{self.written}".encode()
            try:
                put(pb.PutRequest(key=key, value=b"x"), timeout=20)
                self.written += 1
            except grpc.RpcError as error:
                self.failures.append(str(error))
            if self._anew:
                channel.close()
                channel = self._channel()
        channel.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(40)


@contextmanager
def _writing(cluster: RealCluster, pki: Pki) -> Iterator[list[Writer]]:
    writers = [
        Writer(member, pki.tls("client"), pki.handing_out, anew=anew)
        for member in cluster.members
        for anew in (True, False)
    ]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()


def _more_writes(writers: list[Writer]) -> None:
    """Until every writer has written a few times with what is in force now."""
    before = [writer.written for writer in writers]
    poll_until(
        lambda: all(writer.failures or writer.written >= was + 3 for writer, was in zip(writers, before, strict=True)),
        60,
        "a writer stands still",
    )


def test_leaf_and_authority_are_rotated_while_clients_write(pki: Pki, tmp_path: Path) -> None:
    """No write fails and no member restarts; afterwards nobody with an old certificate is let in."""
    cluster = node_members(tmp_path / "members", size=3, tls=pki.tls("client"))
    _with_own_files(cluster, pki)
    members = [member.name for member in cluster.members]
    cluster.start()
    pids = [member.pid for member in cluster.members]
    try:
        with _writing(cluster, pki) as writers:
            _more_writes(writers)
            for name in members:
                pki.issue(name)
                _more_writes(writers)
            pki.authority.begin_rotation()
            for name in (*members, "client"):
                pki.trust(name)
                _more_writes(writers)
            old = tmp_path / "old"
            old.mkdir()
            for path in (pki.tls("client").cert, pki.tls("client").key):
                (old / path.name).write_bytes(path.read_bytes())
            for name in members:
                pki.issue(name)
                _more_writes(writers)
            pki.issue("client")
            _more_writes(writers)  # until nobody begins with the old one any more
            pki.authority.finish_rotation()
            pki.trust(*members, "client")
            _more_writes(writers)
        assert [failure for writer in writers for failure in writer.failures] == []
        assert [member.pid for member in cluster.members] == pids
        stale = Tls(pki.tls("client").ca, old / "tls.crt", old / "tls.key")
        refused = Writer(cluster.members[0], stale, pki.handing_out, anew=True)
        refused.start()
        poll_until(lambda: bool(refused.failures), 30, "an old certificate is let in")
        refused.stop()
        assert refused.written == 0
        # the members' own dials use what is there now
        cluster.members[0].kill()
        cluster.members[0].start()
        fresh = Writer(cluster.members[0], pki.tls("client"), pki.handing_out, anew=True)
        fresh.start()
        _more_writes([fresh])
        fresh.stop()
        assert fresh.failures == []
    finally:
        cluster.kill()


@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
def test_a_member_joins_over_tls(node_cluster: MakeCluster, pki: Pki) -> None:
    """It asks who is there, gets the data and is a learner that can be promoted."""
    cluster = node_cluster(size=2, tls=pki.tls("client"), start=False)
    _with_own_files(cluster, pki)
    first, joining = cluster.members
    first.initial_cluster = f"m1={first.peer_url}"
    first.start()
    ctl = _asked_with(RealCluster(cluster.binaries, [first]), pki.tls("client"))
    ctl.ctl("put", "key", "value")
    ctl.ctl("member", "add", "m2", "--learner", f"--peer-urls={joining.peer_url}")
    joining.flags = ["--initial-cluster-state=existing"]
    joining.start()
    listed = json.loads(ctl.ctl("member", "list", "--write-out=json"))["members"]
    (learner,) = [member for member in listed if member.get("isLearner")]
    _retried(ctl, "in sync with leader", "member", "promote", f"{learner['ID']:x}")
    alone = _alone(_asked_with(cluster, pki.tls("client")), 1)
    assert alone.ctl("get", "key", "--print-value-only") == "value\n"


def _retried(cluster: RealCluster, not_yet: str, *command: str) -> None:
    """Run etcdctl until it works; only `not_yet` is a reason to try again."""

    def works() -> bool:
        try:
            cluster.ctl(*command)
        except AssertionError as error:
            if not_yet not in str(error):
                raise
            return False
        return True

    poll_until(works, 60, f"still {not_yet}")


# Refused by the same words as real etcd


def _lines(member: RealMember, start: int) -> list[dict[str, object]]:
    """What the log says of connections that were not let in, from byte `start` on, without what differs by nature."""
    found = []
    for line in member.log.read_bytes()[start:].decode().splitlines():
        entry = json.loads(line)
        if not entry["msg"].startswith("rejected connection"):
            continue
        assert re.fullmatch(r"127\.0\.0\.1:[0-9]+", entry.pop("remote-addr"))
        for name in ("ts", "caller"):
            del entry[name]
        # times, the resolver's address, versions by number; a port's own number
        entry["error"] = re.sub(
            r": current time .*| on [0-9.:]+:53| \[[0-9 ]+\]|127\.0\.0\.1:[0-9]+", "", entry["error"]
        )
        entry["error"] = re.sub(r"lookup host\.invalid.*", "lookup host.invalid ...", entry["error"])
        found.append(entry)
    return found


def _visit(port: int, context: ssl.SSLContext | None, words: bytes) -> None:
    """Connect, say something, and read until the other side has had enough."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        try:
            if context is None:
                plain.sendall(words)
                plain.shutdown(socket.SHUT_WR)
                plain.recv(1000)
                return
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(words)
                secure.recv(1000)
        except OSError:
            pass  # which is what the log is asked about


def _bad_visitors(
    member: RealMember, pki: certificates.Authority, other: certificates.Authority
) -> Iterator[tuple[int, ssl.SSLContext | None, bytes]]:
    """Port, certificate and first words of each."""
    hour = datetime.timedelta(hours=1)
    pairs = [None, other.issue("stranger"), pki.issue("expired", valid_until=-hour), pki.issue("next", valid_from=hour)]
    for pair in pairs:
        yield member.client_port, _context(pki, pair), b"GET / HTTP/1.1\r\n\r\n"
    for port in (member.client_port, member.peer_port):
        for words in (b"GET / HTTP/1.1\r\n\r\n", b""):
            yield port, None, words
    old = _context(pki, pki.issue("good"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES256-SHA256")
    yield member.client_port, old, b""
    for hosts in (["10.9.9.9"], ["host.invalid"], ["10.9.9.9", "host.invalid"]):
        yield member.peer_port, _context(pki, pki.issue("elsewhere", hosts=hosts)), b"x"


def _context(pki: certificates.Authority, pair: certificates.KeyPair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca))
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
def test_refusals_read_as_real_etcds(real_etcd: MakeCluster, node_cluster: MakeCluster, tmp_path: Path) -> None:
    """The same bad visitors come to both, and both logs say the same of them, word for word."""
    pki, other = certificates.Authority(tmp_path / "pki"), certificates.Authority(tmp_path / "other", "other")
    pair = pki.issue("member")
    tls = Tls(pki.ca, pair.cert, pair.key, client_auth=True, peer=True)
    said = []
    for make in (real_etcd, node_cluster):
        (member,) = make(size=1, tls=tls).members
        start = member.log.stat().st_size
        for number, visitor in enumerate(_bad_visitors(member, pki, other), 1):
            _visit(*visitor)
            poll_until(lambda: len(_lines(member, start)) == number, 30, lambda: str(_lines(member, start)))  # noqa: B023
        said.append(_lines(member, start))
    assert said[0] == said[1]
