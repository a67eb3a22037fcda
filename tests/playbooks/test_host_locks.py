"""Locks on hosts: one run at a time, from whichever machine; a crash and an unfinished run stay visible."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.errors import ClusterUnsafe, EtcdopsError
from etcdops.playbooks import host_locks
from etcdops.playbooks.host_locks import STALE_S, HostLocks, break_lock, look
from etcdops.playbooks.journal import Journal, RunState
from etcdops.playbooks.plan import Plan, StepSpec
from etcdops.playbooks.worker import Worker
from etcdops.remote.command import script
from etcdops.remote.local import LocalSession
from etcdops.remote.session import Result
from tests.fakes.session import FakeSession
from tests.support.real_etcd import poll_until

pytestmark = [pytest.mark.slow]


class Hosts:
    """Hosts that are this machine, each with a folder of its own for locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder / "locks of 'hosts'")
        self.session = LocalSession("h1")

    def locks(self, run: str, *, cluster: str = "prod/a b", lost: list[str] | None = None) -> HostLocks:
        state = RunState(Plan("roll", cluster, {}, (), ()), 0.0, run)
        heard = lost if lost is not None else []
        return HostLocks([self.session], state, f"/j/{run}.jsonl", on_lost=heard.append, folder=self.folder, user="")

    async def look(self) -> str:
        lock = await look(self.session, "prod/a b", folder=self.folder, user="")
        return "" if lock is None else f"{lock.run} {'at work' if lock.at_work else 'unfinished'}"

    @property
    def path(self) -> Path:
        (path,) = Path(self.folder).glob("*.lock")
        return path


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


async def test_a_second_run_is_told_who_is_at_work(hosts: Hosts) -> None:
    """Owner, run, and how long ago it was heard of; another cluster on the same hosts is nobody's business."""
    async with hosts.locks("r-0001"):
        said = rf"h1: run r-0001 of {Worker.this().owner} holds prod/a b since 20\d\d-.*Z, last heard of \d+ s ago"
        with pytest.raises(ClusterUnsafe, match=said) as refused:
            await hosts.locks("r-0002").__aenter__()
        assert "runs stop r-0001" in refused.value.hint
        async with hosts.locks("r-0003", cluster="test"):
            assert await hosts.look() == "r-0001 at work"


async def test_a_lock_goes_with_a_run_that_ended_and_stays_with_one_that_did_not(hosts: Hosts) -> None:
    """The next operator, on another machine, does not have the journal: the host has to say it."""
    locks = hosts.locks("r-0001")
    with pytest.raises(EtcdopsError, match="half way"):
        async with locks:
            raise EtcdopsError("half way")
    assert await hosts.look() == "r-0001 unfinished"
    with pytest.raises(ClusterUnsafe, match=r"r-0001 .* is unfinished") as refused:
        await hosts.locks("r-0002").__aenter__()
    assert "etcdops runs resume r-0001 (journal /j/r-0001.jsonl)" in refused.value.hint
    again = hosts.locks("r-0001")
    async with again:
        assert await hosts.look() == "r-0001 at work", "its own run goes on"
        again._state.ended = "finished"
    assert await hosts.look() == ""
    assert not list(Path(hosts.folder).iterdir()), "nothing is left"


async def test_of_many_at_once_one_gets_it(hosts: Hosts) -> None:
    """The host decides, atomically."""

    async def attempt(number: int) -> str:
        try:
            await hosts.locks(f"r-000{number}").__aenter__()
        except ClusterUnsafe:
            return ""
        return f"r-000{number}"

    won = [run for run in await asyncio.gather(*map(attempt, range(6))) if run]
    assert len(won) == 1
    assert await hosts.look() == f"{won[0]} at work"


async def test_hosts_taken_are_given_back_when_one_is_not_to_be_had(hosts: Hosts, tmp_path: Path) -> None:
    """All or none: or two operators would hold half of the hosts each."""
    second = LocalSession("h2")
    async with hosts.locks("r-0001"):
        pass
    state = RunState(Plan("roll", "test", {}, (), ()), 0.0, "r-0009")
    broken = HostLocks([hosts.session, second], state, "/j", folder=hosts.folder, user="")

    async def fails(session: object) -> None:
        if session is second:
            raise EtcdopsError("h2: no")
        await HostLocks._take(broken, hosts.session)

    broken._take = fails  # type: ignore[method-assign]  # a host that says no
    with pytest.raises(EtcdopsError, match="h2: no"):
        await broken.__aenter__()
    assert await look(hosts.session, "test", folder=hosts.folder, user="") is None


async def test_a_silent_lock_is_named_as_stale_and_can_be_broken(hosts: Hosts) -> None:
    """A tool that was killed leaves it; its file is kept beside, and only the lock that was looked at is broken."""
    await hosts.locks("r-0001").__aenter__()
    old = time.time() - STALE_S - 60
    os.utime(hosts.path, (old, old))
    with pytest.raises(ClusterUnsafe, match="seems to be gone") as refused:
        await hosts.locks("r-0002").__aenter__()
    assert refused.value.hint.endswith("Only if that is gone for good: etcdops runs unlock prod/a b")
    lock = await look(hosts.session, "prod/a b", folder=hosts.folder, user="")
    assert lock is not None
    assert lock.stale
    assert await break_lock(hosts.session, lock, folder=hosts.folder, user="")
    assert not await break_lock(hosts.session, lock, folder=hosts.folder, user=""), "it was broken before"
    assert len(list(Path(hosts.folder).glob("*.broken-*"))) == 1
    async with hosts.locks("r-0002"):
        assert await hosts.look() == "r-0002 at work"


async def test_the_lock_is_renewed_and_its_loss_is_noticed(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has to stop when somebody broke its lock, and must not take away that of the next one."""
    monkeypatch.setattr(HostLocks, "beat_s", 0.05)
    lost: list[str] = []
    async with hosts.locks("r-0001", lost=lost):
        os.utime(hosts.path, (1, 1))
        await asyncio.to_thread(poll_until, lambda: hosts.path.stat().st_mtime > 1, 20)
        content = json.loads(hosts.path.read_text())
        assert (content["run"], content["pid"], content["at_work"]) == ("r-0001", os.getpid(), True)
        hosts.path.write_text(json.dumps({**content, "run": "r-0002"}, separators=(",", ":")) + "\n")
        await asyncio.to_thread(poll_until, lambda: bool(lost), 20)
    assert "taken away" in lost[0]
    assert await hosts.look() == "r-0002 at work"


async def test_a_file_that_is_no_lock_is_named(hosts: Hosts) -> None:
    """Nothing is guessed, nothing is overwritten."""
    async with hosts.locks("r-0001"):
        hosts.path.write_text("hello\n")
        with pytest.raises(EtcdopsError, match="is not a lock"):
            await hosts.look()
        with pytest.raises(EtcdopsError, match="cannot take the lock"):
            await hosts.locks("r-0002").__aenter__()
    assert hosts.path.read_text() == "hello\n"


@pytest.mark.parametrize(("end", "taken"), [("finished", True), ("abandoned", True), ("", False)])
async def test_a_lock_of_a_run_that_is_proved_to_be_over_is_taken_over(
    hosts: Hosts, tmp_path: Path, end: str, taken: bool
) -> None:
    """Cut off between its end and the removal of its file; one that stopped half way is not over."""
    plan = Plan("roll", "prod/a b", {}, (), (), (StepSpec("a", "do a", "a"),))
    journal = Journal.create(tmp_path / "runs", plan, SystemClock(), name="r-0001")
    journal.intent("a")
    if end:
        getattr(journal, end)()
    state = RunState(plan, 0.0, "r-0001")
    await HostLocks([hosts.session], state, journal.path, folder=hosts.folder, user="").__aenter__()
    if not taken:
        with pytest.raises(ClusterUnsafe, match="r-0001"):
            await hosts.locks("r-0002").__aenter__()
        return
    async with hosts.locks("r-0002"):
        assert await hosts.look() == "r-0002 at work"
    assert len(list(Path(hosts.folder).glob("*.broken-*"))) == 1, "what was taken over is kept"


async def test_a_lock_of_a_run_that_did_nothing_is_taken_over_once_nobody_works_on_it(
    hosts: Hosts, tmp_path: Path
) -> None:
    """It was killed before its first act: there is nothing to go on with, and nothing to undo."""
    plan = Plan("roll", "prod/a b", {}, (), (), (StepSpec("a", "do a", "a"),))
    journal = Journal.create(tmp_path / "runs", plan, SystemClock(), name="r-0001")
    state = RunState(plan, 0.0, "r-0001")
    await HostLocks([hosts.session], state, journal.path, folder=hosts.folder, user="").__aenter__()
    with pytest.raises(ClusterUnsafe, match="r-0001"):
        await hosts.locks("r-0002").__aenter__()
    line = json.loads(journal.path.read_text())
    line["by"]["started"] = "another process of the same number"
    journal.path.write_text(json.dumps(line) + "\n")
    async with hosts.locks("r-0002"):
        assert await hosts.look() == "r-0002 at work"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("No space left on device", "its disk is full"),
        ("Read-only file system", "read-only"),
        ("Permission denied", "become root"),
    ],
)
async def test_why_a_lock_cannot_be_written_is_told_with_what_to_do(said: str, hint: str) -> None:
    """The host's own words are the cause."""
    session = FakeSession("h1")
    session.answer("/bin/sh", result=Result(1, b"", f"sh: cannot create: {said}".encode(), 0.0))
    state = RunState(Plan("roll", "prod", {}, (), ()), 0.0, "r-0001")
    with pytest.raises(EtcdopsError, match="h1: cannot take the lock of prod in /var/lib/etcdops/locks") as failed:
        await HostLocks([session], state, "/j").__aenter__()
    assert said in failed.value.cause
    assert hint in failed.value.hint


async def test_a_process_that_was_killed_while_it_wrote_leaves_no_half_a_lock(hosts: Hosts) -> None:
    """The connection ends, and the host's shell sees the end of what it was told: an empty lock would be nobody's."""
    for told in (b"", b'{"cluster":"prod/a b","run":"r-0001"'):
        arguments = (hosts.folder, "prod.lock", '"run":"r-0001"')
        taken = await hosts.session.run(script(host_locks._TAKE, *arguments, stdin=told), check=False)
        assert taken.exit_status == 1
        assert not list(Path(hosts.folder).glob("*"))
    async with hosts.locks("r-0001"):
        arguments = (hosts.folder, hosts.path.name, '"run":"r-0001"')
        renewed = await hosts.session.run(script(host_locks._RENEW, *arguments, stdin=b""), check=False)
        assert renewed.exit_status == 1
        assert await hosts.look() == "r-0001 at work"
