"""etcdctl 3.4 and 3.5, all of their commands: on the node they print what they print on their own etcd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server
from tests.differential.conftest import binaries_of, start_server
from tests.differential.ctl_differences import KNOWN
from tests.differential.ctl_sweep import SECTIONS, Command
from tests.node.api.comparing import normalised
from tests.support.real_etcd import EtcdBinaries, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

_LINES_S = 15.0
LONG = bool(os.environ.get("ETCDOPS_DIFFERENTIAL_LIVES"))

_HEX = r"[0-9a-f]{8,16}"
_MASKS: tuple[tuple[str, str], ...] = (
    (
        r'"(cluster_id|member_id|raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse|leader)":\d+',
        r'"\1":N',
    ),
    (
        r'"(ClusterID|MemberID|RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|DBSizeQuota|Leader)" : -?\d+',
        r'"\1" : N',
    ),
    (r'"(ID|MemberID)" : \d{10,}', r'"\1" : N'),
    (r'"ID":\d{10,}', '"ID":N'),
    (r'"(took|Took)":"?[\d.]+\w*"?', r'"\1":T'),
    (r'"Took" : "[^"]*"', '"Took" : T'),
    (r"took = [\d.]+\w+", "took = T"),
    (r"in [\d.]+ ?(µs|ms|s)\b", "in T"),
    (r"\b[\d.]+(µs|ms)\b", "T"),
    (r'"(version|Version)"( ?: ?)"[^"]*"', r'"\1"\2"V"'),
    (r"\b3\.[45]\.\d+\b", "V"),
    (r"\b\d+(\.\d+)? [kKM]?B\b", "SIZE"),
    (rf"\b{_HEX}\b", "ID"),
    (r"\b\d{15,}\b", "ID"),
    (r"-{3,}", "---"),
    (r" +", " "),
    (r'\{"level":"\w+","ts":.*', "LOG"),
    # Of the two that hold, the first is said within the second in which the other was added.
    (r"member ID already exist|Peer URLs already exists", "ALREADY THERE"),
    (r"remaining\(\d+s\)", "remaining(R)"),
    (r"(?s)goroutine \d+ \[running\].*?exit", "GOROUTINE exit"),
    (r"(true|false), (true|false), \d+, \d+, \d+,", r"\1, \2, TERM, INDEX, INDEX,"),
    (r'"x=(\S+),m1=OWN"', r'"m1=OWN,x=\1"'),
)
_SORTED = ("member list",)
"""Commands whose lines come in the order of IDs, which are a server's own."""


class Sweeper:
    """Runs commands of one etcdctl against one server."""

    def __init__(self, binaries: EtcdBinaries, server: Server) -> None:
        self._binaries = binaries
        self._server = server

    def run(self, command: Command) -> str:
        """What it prints and how it ends, without what names a server or depends on the time."""
        if command.answer is not None and "--write-out=protobuf" in command.arguments:
            return self._message(command)
        process = self.start(*command.arguments)
        if command.lines:
            text = self._interrupted(process, command)
        else:
            printed, complaints = process.communicate(command.given.encode(), timeout=60)
            text = f"{printed.decode(errors='replace')}{complaints.decode(errors='replace')}exit {process.returncode}"
        masked = self._masked(text)
        if " ".join(command.arguments).startswith(_SORTED):
            return "\n".join(sorted(masked.splitlines()))
        return masked

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """An etcdctl that runs against the server."""
        words = [self._learner() if word == "LEARNER" else word for word in arguments]
        own = any(word.startswith("--endpoints") for word in words)
        return subprocess.Popen(
            [str(self._binaries.etcdctl), *([] if own else [f"--endpoints={self._server.client.address}"]), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]},
        )

    def _learner(self) -> str:
        return next((f"{member.ID:x}" for member in self._server.client.members().members if member.isLearner), "404")

    def _message(self, command: Command) -> str:
        assert command.answer is not None
        done = self.start(*command.arguments).communicate(command.given.encode(), timeout=60)[0]
        try:
            answer = command.answer.FromString(done)
        except DecodeError:
            return self._masked(done.decode(errors="replace"))
        if isinstance(answer, pb.MemberListResponse):
            del answer.members[:]  # all of it names a server
        return str(normalised(answer))

    def _interrupted(self, process: subprocess.Popen[bytes], command: Command) -> str:
        """Read so many lines, then interrupt it as an operator does."""
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdin.write(command.given.encode())
        process.stdin.flush()
        if command.while_running:
            time.sleep(1.0)  # etcdctl does not say when it has begun to watch
        for arguments in command.while_running:
            self.start(*arguments).communicate(timeout=60)
        lines: list[str] = []
        os.set_blocking(process.stdout.fileno(), False)
        ends, rest = time.monotonic() + _LINES_S, b""
        while len(lines) < command.lines and time.monotonic() < ends:
            rest += process.stdout.read() or b""
            *whole, rest = rest.split(b"\n")
            lines += [line.decode(errors="replace") for line in whole]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
        return "\n".join(lines[: command.lines])

    def _masked(self, text: str) -> str:
        member = self._server.cluster.members[0]
        for own in (self._server.client.address, member.peer_url, str(member.client_port), str(member.peer_port)):
            text = text.replace(own, "OWN")
        for pattern, mask in _MASKS:
            text = re.sub(pattern, mask, text)
        return "\n".join(line.rstrip() for line in text.splitlines())


def different(kind: str, printed: Sequence[str], section: str, line: str) -> list[str]:
    """What to complain of, if anything: what is in the table must differ, nothing else may."""
    known = (kind.removeprefix("etcd-"), section, line) in KNOWN
    if (printed[0] != printed[1]) == known:
        return []
    return [f"[{section}] etcdctl {line}{' (KNOWN)' * known}\n--- {kind}\n{printed[0]}\n--- node\n{printed[1]}"]


@pytest.mark.parametrize("version", [pytest.param("3.4", marks=pytest.mark.exhaustive), "3.5"])
def test_etcdctl_prints_on_the_node_what_it_prints_on_etcd(version: str, tmp_path: Path) -> None:
    """Every command and option, right and wrong, errors and exit codes included."""
    kind = f"etcd-{version}"
    etcdctl = binaries_of(kind)
    servers = [start_server(name, tmp_path / name) for name in (kind, "node")]
    try:
        theirs, ours = (Sweeper(etcdctl, server) for server in servers)
        complaints: list[str] = []
        for section, commands in SECTIONS.items():
            for command in commands:
                if command.since > version:
                    continue
                printed = theirs.run(command), ours.run(command)
                complaints += different(kind, printed, section, " ".join(command.arguments))
        assert not complaints, "\n\n".join([f"{len(complaints)} differ", *complaints])
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize("version", ["3.4", "3.5"])
def test_a_mirror_of_a_node_is_one(version: str, tmp_path: Path) -> None:
    """etcdctl make-mirror from the node to an etcd and back: what is there before, and what comes while it runs."""
    kind = f"etcd-{version}"
    etcdctl = binaries_of(kind)
    servers = [start_server(name, tmp_path / name) for name in (kind, "node")]
    try:
        for source, target in (servers, reversed(servers)):
            sweeper = Sweeper(etcdctl, source)
            for number in range(3):
                source.client.put(pb.PutRequest(key=b"m/%d" % number, value=b"before"))
            mirror = sweeper.start("make-mirror", target.client.address, "--prefix=m/", f"--dest-prefix={source.name}/")
            mirrored = pb.RangeRequest(key=f"{source.name}/".encode(), range_end=f"{source.name}0".encode())
            poll_until(lambda: target.client.range(mirrored).count == 3, 30.0, "the mirror shows nothing")  # noqa: B023
            source.client.put(pb.PutRequest(key=b"m/1", value=b"while"))
            source.client.delete(pb.DeleteRangeRequest(key=b"m/2"))

            def shown() -> list[bytes]:
                return [kv.value for kv in target.client.range(mirrored).kvs]  # noqa: B023

            poll_until(lambda: shown() == [b"before", b"while"], 30.0, lambda: f"the mirror shows {shown()}")
            mirror.send_signal(signal.SIGINT)
            mirror.communicate(timeout=20)
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize("version", ["3.4", "3.5"])
def test_images_are_saved_alike(version: str, tmp_path: Path) -> None:
    """`snapshot save` works on both. What is in the node's image only etcdops reads: it is no bbolt file."""
    kind = f"etcd-{version}"
    etcdctl = binaries_of(kind)
    servers = [start_server(name, tmp_path / name) for name in (kind, "node")]
    try:
        printed = []
        for server in servers:
            server.client.put(pb.PutRequest(key=b"a"))
            sweeper, image = Sweeper(etcdctl, server), tmp_path / f"{server.name}.db"
            saved = sweeper.run(Command(("snapshot", "save", str(image))))
            printed.append([line.replace(str(image), "IMAGE") for line in saved.splitlines() if line != "LOG"])
            assert image.stat().st_size % 512 == 32
            status = sweeper.run(Command(("snapshot", "status", str(image))))
            assert status.endswith("exit 0") == (server.name != "node"), status
        assert printed[0] == printed[1]
        assert "exit 0" in printed[0]
    finally:
        for server in servers:
            server.close()


@pytest.mark.skipif(not LONG, reason="a minute each, and a quiet machine: make differential")
@pytest.mark.parametrize("version", ["3.4", "3.5"])
@pytest.mark.parametrize("check", ["perf", "datascale"])
def test_etcdctls_own_checks_run_on_the_node(version: str, check: str, tmp_path: Path) -> None:
    """They end with a verdict of the same form; what it is depends on the machine."""
    etcdctl = binaries_of(f"etcd-{version}")
    server = start_server("node", tmp_path / "node")
    try:
        process = Sweeper(etcdctl, server).start("check", check, "--load=s", "--auto-compact", "--auto-defrag")
        printed = process.communicate(timeout=300)[0].decode(errors="replace")
        assert "PASS" in printed or "FAIL" in printed, printed
        assert "panic" not in printed
    finally:
        server.close()
