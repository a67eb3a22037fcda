"""What hosts say of members, disks and the kernel: from what is printed, and from a real member on this machine."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from etcdops.doctor.gather import hosts
from etcdops.doctor.gather.hosts import names_of, observe_host, observe_hosts
from etcdops.errors import Unreachable
from etcdops.facts.host import HostFacts, Listener, sections
from etcdops.inventory.model import Cluster, Host, Inventory, Manager, place
from etcdops.remote.become import Become
from etcdops.remote.local import LocalSession
from etcdops.remote.session import Session
from etcdops.services.discover import Found
from etcdops.services.port import Origin, ProcessConfig, Setting, State
from tests.support.ports import free_ports
from tests.support.real_etcd import find_etcd

SAID = """\
@@files
/var/lib/etcd\t1048576 524288\t65536 10\t/var/lib\text4 ro,relatime
/gone\t\t\t\t
@@boot
btime 1769800000
@@limits 700
Max open files            1024                 524288               files
@@memory 700
VmRSS:\t    2048 kB
@@memory-max 700
max
268435456
9223372036854771712
@@files 700
37
@@started 700
4550
@@listeners 700
   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
@@listeners-known 700
yes
@@kernel
1769846400.500000 h1 kernel: Out of memory: Killed process 700 (etcd) total-vm:1kB
1769846401.500000 h1 kernel: EXT4-fs error (device sda1): ext4_find_entry
"""


def test_the_process_of_a_member_has_limits_memory_and_ports() -> None:
    """Its own soft limit and the smallest limit of its control groups, whatever stands above it."""
    said = sections(SAID)
    process = hosts._process(700, said)
    assert process is not None
    assert (process.open_files, process.open_files_max, process.resident_bytes) == (37, 1024, 2 << 20)
    assert (process.memory_max_bytes, process.started_at) == (256 << 20, 1769800045.5)
    assert process.listeners == (Listener("127.0.0.1", 2379),)
    assert hosts._process(701, said) is None


def test_a_file_system_tells_room_inodes_and_whether_it_can_be_written() -> None:
    """What is not known stays so."""
    known, unknown = hosts._file_systems(HostFacts("h1"), sections(SAID)["files"])
    assert (known.mounted_at, known.kind, known.read_only) == ("/var/lib", "ext4", True)
    assert (known.size_bytes, known.free_bytes, known.inodes, known.free_inodes) == (1 << 30, 1 << 29, 65536, 10)
    assert (unknown.free_bytes, unknown.free_inodes, unknown.read_only) == (None, None, None)


def test_the_kernel_tells_whom_it_killed_and_when() -> None:
    """By the journal; a host without one has the kernel's ring, whose clock began with the boot."""
    (killed, broken) = hosts._kernel(sections(SAID))
    kill = hosts._oom_kill(*killed)
    assert kill is not None
    assert (kill.process, kill.pid, kill.at) == ("etcd", 700, 1769846400.5)
    assert hosts._oom_kill(*broken) is None
    ring = sections("@@uptime\n100.5\n1000\n@@dmesg\n[   50.5] Killed process 9 (etcd) total-vm:1kB\n")
    assert hosts._kernel(ring)[0][0] == 950.0


@pytest.mark.parametrize(
    ("data_dir", "contained", "pid", "expected"),
    [
        ("/data", False, 7, "/data"),
        ("/data", True, 7, "/proc/7/root/data"),
        ("/data", True, None, ""),
        ("data", False, 7, "/proc/7/cwd/data"),
        ("data", False, None, ""),
        (None, False, 7, "/proc/7/cwd/m1.etcd"),
    ],
)
def test_a_directory_is_named_as_its_host_sees_it(
    data_dir: str | None, contained: bool, pid: int | None, expected: str
) -> None:
    """Inside a container, relative to where it was started, or etcd's default, which hangs on its name."""
    flags = {"name": Setting("m1", Origin.FLAG)}
    if data_dir is not None:
        flags["data-dir"] = Setting(data_dir, Origin.FLAG)
    found = Found("", "7", State.RUNNING, pid, ProcessConfig("etcd", flags))
    assert hosts._Seen(found, pid, is_contained=contained).folder("data-dir") == expected


def test_what_a_container_has_on_a_volume_is_named_by_its_place_on_the_host() -> None:
    """Also when it does not run, as one that ends at each start."""
    found = Found(
        Manager.PODMAN,
        "etcd",
        State.FAILED,
        None,
        ProcessConfig("etcd", {"data-dir": Setting("/var/lib/etcd", Origin.FLAG)}),
    )
    for volumes, expected in (({"/var/lib/etcd": "/srv/etcd"}, "/srv/etcd"), ({}, "")):
        seen = hosts._Seen(found, None, is_contained=True, volumes=volumes)
        assert seen.folder("data-dir") == expected


def test_only_names_are_resolved_and_each_once() -> None:
    """Addresses need no name service."""
    inventory = Inventory(hosts={"a": Host(name="a", address="db1"), "b": Host(name="b", address="10.0.0.2")})
    cluster = Cluster.model_validate({"members": [{"host": "a"}, {"host": "b"}]})
    assert names_of([place(inventory, cluster, member) for member in cluster.members]) == ("db1",)


async def test_a_host_that_cannot_be_reached_is_there_with_the_reason() -> None:
    """Unknown is a value: checks say nothing of it, and it is listed as not looked at."""

    async def connect(host: str) -> Session:
        raise Unreachable(f"{host} cannot be reached", cause="no route to host")

    found = await observe_hosts(connect, ["h1", "h2"])
    assert [(one.host, one.error) for one in found.values()] == [
        ("h1", "h1 cannot be reached (no route to host)"),
        ("h2", "h2 cannot be reached (no route to host)"),
    ]


@pytest.mark.slow
@pytest.mark.real
async def test_a_real_member_on_this_machine_is_seen_as_it_runs(tmp_path: Path) -> None:
    """The scripts themselves: its process, where it listens, whose data it has."""
    etcd = find_etcd("3.5")
    if etcd is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    client, peer = free_ports(2)
    urls = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    member = _started([str(etcd.etcd), f"--data-dir={tmp_path / 'data'}"], urls, tmp_path / "log")
    session = LocalSession("here", Become(needed=False))
    try:
        await session.prepare()
        end = time.monotonic() + 30
        while True:
            seen = await observe_host(session)
            (found,) = (one for one in seen.members if one.found.pid == member.pid)
            process = found.process
            listening = {one.port for one in process.listeners or ()} if process is not None else set()
            if {client, peer} <= listening and found.data is not None and found.data.member_id is not None:
                break
            assert time.monotonic() < end, found
        assert process is not None
        assert (process.open_files_max or 0) > 0
        assert (process.resident_bytes or 0) > 1 << 20
        assert abs((process.started_at or 0) - time.time()) < 60
        assert found.name == "m1"
        (system,) = (one for one in seen.file_systems if one.path == str(tmp_path / "data"))
        assert (system.free_bytes or 0) > 0
        assert system.read_only is False
    finally:
        await session.close()
        member.kill()
        member.wait()


def _started(words: list[str], urls: tuple[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    """A member `m1` that its caller ends."""
    client, peer = urls
    flags = [
        "--name=m1", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=m1={peer}",
    ]  # fmt: skip
    with log_path.open("wb") as log:
        return subprocess.Popen([*words, *flags], stdout=log, stderr=log)
