"""What hosts say of themselves, understood: from what real hosts print, and from this machine."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from etcdops.facts.host import Listener, gather_facts, parse_facts
from etcdops.ids import ClusterID, MemberID
from etcdops.proto import walpb_pb2
from etcdops.remote.become import Become
from etcdops.remote.local import LocalSession

SAID = """\
@@os
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
ID=debian
@@machine
x86_64
@@kernel
6.1.0-25-amd64
@@python
Python 3.11.2
@@libc
glibc
@@machine-id
0123456789abcdef0123456789abcdef
@@memory
MemTotal:        2048000 kB
SwapTotal:             0 kB
@@open-files
1048576
@@addresses
127.0.0.1
10.0.0.1
fe80::1
@@listeners
LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=612,fd=3))
LISTEN 0      4096            [::]:2379         [::]:*    users:(("etcd",pid=700,fd=8))
@@names
db1 10.0.0.1 fe80::1
db2
@@missing
svc|sv
@@engine
3.4.23
@@firewall
-P INPUT DROP
@@data
/var/lib/etcd\t2\tmember\tHEAD
/var/lib/etcd-wal\t-1\t\t
@@disk
/var/lib/etcd\text2/ext3\t1048576\t0.001 0.002 0.003 0.5
"""


def log_head(member: int, cluster: int) -> str:
    """The first records of a log file of etcd, as the script sends them."""
    checksum = walpb_pb2.Record(type=4, crc=0)
    identity = walpb_pb2.Record(type=1, crc=0, data=walpb_pb2.Snapshot(index=member, term=cluster).SerializeToString())
    raw = b""
    for record in (checksum, identity):
        data = record.SerializeToString()
        padding = -len(data) % 8
        length = len(data) | ((0x80 | padding) << 56 if padding else 0)
        raw += length.to_bytes(8, "little") + data + bytes(padding)
    return base64.b64encode(raw.ljust(1024, b"\0")).decode()


def test_everything_a_host_says_is_understood() -> None:
    """Sizes in bytes, times in seconds, what is not known stays so."""
    facts = parse_facts("h1", SAID.replace("HEAD", log_head(0xAB, 0xCD)))
    assert (facts.os, facts.machine, facts.python) == ("Debian GNU/Linux 12 (bookworm)", "x86_64", (3, 11, 2))
    assert (facts.memory_bytes, facts.swap_bytes, facts.open_files) == (2048000 << 10, 0, 1048576)
    assert facts.listeners == (Listener("0.0.0.0", 22, "sshd"), Listener("::", 2379, "etcd"))
    assert facts.names == {"db1": ("10.0.0.1", "fe80::1"), "db2": ()}
    assert (facts.missing, facts.engine_version, facts.firewall) == (("svc|sv",), "3.4.23", ("-P INPUT DROP",))
    data, log = facts.data_dirs
    assert (data.is_member, data.member_id, data.cluster_id) == (True, MemberID(0xAB), ClusterID(0xCD))
    assert (data.is_vacant, log.is_vacant) == (False, True)
    (disk,) = facts.disks
    assert (disk.free_bytes, disk.fsync_p50_s, disk.fsync_p99_s, disk.measured) == (1 << 30, 0.003, 0.5, 4)


@pytest.mark.parametrize("head", ["", "bm90IGEgbG9n", "!!!", "node 12", "node -1 2"])
def test_data_whose_owner_cannot_be_read_is_still_data(head: str) -> None:
    """A damaged log, a node's file without python3 on the host, rubbish."""
    data = parse_facts("h1", SAID.replace("HEAD", head)).data_dirs[0]
    assert (data.is_member, data.is_vacant) == (True, False)
    assert data.member_id in (None, MemberID((1 << 64) - 1))


def test_without_ss_the_kernels_own_tables_tell_which_ports_are_taken() -> None:
    """Busybox has no ss; only listeners count."""
    said = """\
@@tcp
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:9C40 0100007F:094B 01 00000000:00000000 00:00000000 00000000     0
   0: 00000000000000000000000000000000:094C 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0
"""
    assert parse_facts("h1", said).listeners == (Listener("127.0.0.1", 2379), Listener("::", 2380))


def test_a_host_that_says_nothing_is_not_known_and_breaks_nothing() -> None:
    """Each command of the script may be missing."""
    facts = parse_facts("h1", "@@os\n@@machine\n@@disk\n")
    assert (facts.os, facts.python, facts.memory_bytes, facts.listeners, facts.disks) == ("", None, None, (), ())


@pytest.mark.slow
async def test_this_machine_tells_its_facts_and_keeps_no_trace_of_the_probe(tmp_path: Path) -> None:
    """The script itself, in the shell that runs it on hosts."""
    session = LocalSession("here", Become(needed=False))
    await session.prepare()
    (tmp_path / "data" / "member" / "wal").mkdir(parents=True)
    log = tmp_path / "data" / "member" / "wal" / "0000000000000000-0000000000000000.wal"
    log.write_bytes(base64.b64decode(log_head(7, 9)))
    wanted = [str(tmp_path / "data"), str(tmp_path / "not" / "there")]
    facts = await gather_facts(session, wanted, names=["localhost"], programs=["sh", "no-such|sh", "no-such-program"])
    await session.close()
    assert facts.python == sys.version_info[:3] or facts.python is not None
    assert (facts.data_dirs[0].member_id, facts.data_dirs[1].entries) == (MemberID(7), -1)
    assert facts.missing == ("no-such-program",)
    assert facts.names["localhost"]
    assert facts.clock_offset_s is not None
    assert abs(facts.clock_offset_s) <= facts.clock_error_s + 0.5
    assert [disk.measured > 0 for disk in facts.disks] == [True, True]
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]
