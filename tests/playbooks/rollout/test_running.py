"""Whether a running member is what its host would start now: files of the host against the process, from told facts."""

from __future__ import annotations

import pytest

from etcdops.playbooks.rollout.running import note_start, outdated
from etcdops.services.port import ProcessConfig
from tests.fakes.session import FakeFile, FakeSession, said
from tests.playbooks.rollout.told import members

BOOT = 1_000_000
STARTED = BOOT + 50.0
UNIT = "/etc/systemd/system/etcd.service"
NOTE = "/var/lib/etcdops/services/systemd-etcd/started.json"
(MEMBER, *_) = members({"tls": {}})
(CA, PEER_CA) = (bundle.path for bundle in MEMBER.bundles)
(WANTED,) = (file.content.decode() for file in MEMBER.files if file.path == UNIT)
RUNNING = ProcessConfig("", {})


def stat_of(ticks: int) -> str:
    """/proc/PID/stat of a program with a nasty name."""
    return f"7 (et) cd) S {' '.join(['0'] * 18)} {ticks} 0"


class Told(FakeSession):
    """A host whose member, process 7, started with the files as they are."""

    def __init__(self) -> None:
        super().__init__("h1", {UNIT: WANTED, CA: "ca", PEER_CA: "peer ca"})
        for file in self.files.values():
            file.modified_at = STARTED - 10
        self.starts(5000)

    def starts(self, ticks: int, *, boot: str = "b-1") -> None:
        self.answer("btime", result=said(f"{stat_of(ticks)}\nbtime {BOOT}"))
        self.answer("boot_id", result=said(f"{boot}\n{stat_of(ticks)}"))

    def write(self, path: str, text: str, at: float) -> None:
        self.files[path] = FakeFile(text.encode(), modified_at=at)


async def reasons(host: Told) -> list[str]:
    return await outdated(host, MEMBER, RUNNING, 7)


async def test_a_unit_that_was_edited_needs_no_restart_to_be_put_back() -> None:
    """The process was started with exactly what is wanted: neither the edit nor the write that ends it matters."""
    host = Told()
    await note_start(host, MEMBER, 7)
    assert await reasons(host) == []
    for text in ("edited", WANTED):
        host.write(UNIT, text, STARTED + 20)
        assert await reasons(host) == []
    host.write(CA, "another authority", STARTED + 20)
    assert await reasons(host) == [f"{CA} was written after it started"]
    host.write(CA, "ca", STARTED + 30)
    assert await reasons(host) == []


async def test_a_process_that_was_started_with_the_edited_unit_has_to_be_restarted() -> None:
    """What is noted of it is what it had, not what was wanted."""
    host = Told()
    host.write(UNIT, "edited", STARTED - 5)
    await note_start(host, MEMBER, 7)
    host.write(UNIT, WANTED, STARTED + 20)
    assert await reasons(host) == [f"{UNIT} was written after it started"]


@pytest.mark.parametrize(("ticks", "boot"), [(6000, "b-1"), (5000, "b-2")])
async def test_what_was_noted_of_another_process_proves_nothing(ticks: int, boot: str) -> None:
    """Restarted meanwhile, perhaps with the edited file; the same number after the host's start is another process."""
    host = Told()
    await note_start(host, MEMBER, 7)
    host.starts(ticks, boot=boot)
    host.write(UNIT, WANTED, STARTED + 30)
    assert await reasons(host) == [f"{UNIT} was written after it started"]


@pytest.mark.parametrize(
    "note", ["", "no json", "[]", '{"process": "b-1/7/5000"}', '{"process": "b-1/7/5000", "files": 1}']
)
async def test_without_a_note_that_can_be_read_a_restart_is_right(note: str) -> None:
    """Members that were started by somebody else, or before there were notes."""
    host = Told()
    if note:
        host.write(NOTE, note, STARTED)
    host.write(UNIT, WANTED, STARTED + 30)
    assert await reasons(host) == [f"{UNIT} was written after it started"]


async def test_a_process_that_is_older_than_its_files_is_not_noted() -> None:
    """Nobody knows what it was started with."""
    host = Told()
    host.write(UNIT, "newer", STARTED + 5)
    await note_start(host, MEMBER, 7)
    await note_start(host, MEMBER, None)
    assert NOTE not in host.files
