"""Logs from hosts: which program is asked, what is left out, and that one host hides no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from etcdops.doctor.gather.logs import (
    Logged,
    LogLine,
    LogPlace,
    LogTrouble,
    following,
    lines_of,
    log_places,
    logged_members,
)
from etcdops.errors import AccessDenied, Unreachable
from etcdops.inventory.model import Cluster, Manager, ServiceSpec
from etcdops.remote.command import Command
from etcdops.remote.session import Result, Session
from tests.fakes.session import FakeSession, said

STOPPED = "LoadState=loaded\nActiveState=inactive\n"
M1 = Logged("m1", "h1", ServiceSpec())
OLD = '2026-01-31T08:00:00+0000 h1 etcd[1]: {"level":"info","ts":"2026-01-31T08:00:00.1Z","msg":"old"}'
NEW = '2026-01-31T08:00:05+0000 h1 etcd[1]: {"level":"info","ts":"2026-01-31T08:00:05.1Z","msg":"new"}'
WORDS = "2026-01-31T08:00:05+0000 h1 systemd[1]: etcd.service: Main process exited, code=exited, status=200/CHDIR"


def journal(*lines: str, host: str = "h1") -> FakeSession:
    session = FakeSession(host)
    session.answer("systemctl", "show", result=said(STOPPED))
    session.answer("journalctl", result=said("\n".join(lines)))
    return session


async def test_the_journal_of_a_unit_is_asked_for_within_its_window_with_systemds_own_words() -> None:
    """Why a unit did not start stands in no line of etcd's."""
    session = journal(OLD, WORDS)
    got = [line async for line in lines_of(session, LogPlace(M1), since=10.7, until=19_999_999_999.2, lines=50)]
    assert got == [OLD, WORDS]
    asked = [str(word) for word in session.ran[-1].argv]
    assert {"--unit=etcd.service", "--lines=50", "--output=short-iso", "--since=@10", "--until=@20000000000"} <= {
        *asked
    }
    assert session.ran[-1].user == "root"


async def test_who_may_not_become_root_may_still_read_the_journal() -> None:
    """Members of systemd-journal and adm need no sudo for it."""
    session = FakeSession()

    def answer(asked: Command) -> Result:
        if asked.user:
            raise AccessDenied("h1: cannot become root")
        return said(OLD)

    session.answer("journalctl", result=answer)
    assert [line async for line in lines_of(session, LogPlace(M1))] == [OLD]


async def test_files_that_etcd_writes_itself_are_logs_of_the_member_too() -> None:
    """--log-outputs names them; stderr and the like are what its keeper has."""
    session = FakeSession("h1", {"/etc/systemd/system/etcd.service": _UNIT})
    session.answer("systemctl", "show", result=said(f"{STOPPED}FragmentPath=/etc/systemd/system/etcd.service\n"))
    places = await log_places(session, M1)
    assert [place.name for place in places] == ["m1", "m1:/var/log/etcd.log"]
    assert [place.described for place in places] == ["the journal of etcd.service on h1", "/var/log/etcd.log on h1"]


_UNIT = "[Service]\nExecStart=/usr/bin/etcd --log-outputs=stderr,/var/log/etcd.log\n"


async def test_lines_after_the_end_of_the_window_are_left_out_of_files() -> None:
    """Files have no index: what tells no time is as old as the line before it."""
    place = LogPlace(M1, "/var/log/etcd.log")
    early, late = (f'{{"level":"info","ts":"2026-01-31T08:00:0{n}.0Z","msg":"m"}}' for n in (0, 9))
    session = FakeSession("h1", {place.path: ""})
    session.answer("tail", result=said(f"{early}\ngoroutine 1 [running]:\n{late}\nmore\n"))
    until = 1769846405.0
    assert [line async for line in lines_of(session, place, until=until)] == [early, "goroutine 1 [running]:"]


def test_members_of_an_inventory_have_a_log_each() -> None:
    """By their names, else by their hosts'."""
    cluster = Cluster.model_validate(
        {"members": [{"host": "a"}, {"host": "b", "name": "m2"}], "service": {"manager": "docker", "image": "etcd:3.5"}}
    )
    found = logged_members(cluster)
    assert [(one.member, one.host, one.service.manager) for one in found] == [
        ("a", "a", Manager.DOCKER),
        ("m2", "b", Manager.DOCKER),
    ]


async def test_a_host_that_cannot_be_reached_hides_no_other_and_is_told_of_once() -> None:
    """And is tried again, in silence, until it answers."""
    tries, thrice = 0, asyncio.Event()

    async def connect(host: str) -> Session:
        nonlocal tries
        if host == "h1":
            return journal(OLD, NEW)
        tries += 1
        if tries == 3:
            thrice.set()
        raise Unreachable(f"{host} cannot be reached")

    members = [M1, Logged("m2", "h2", ServiceSpec())]
    async with following(connect, members, again_after_s=0.0) as events:
        got = await _take(events, 3)
        await asyncio.wait_for(thrice.wait(), 10)
    assert [event.text for event in got if isinstance(event, LogLine)] == [OLD, NEW]
    (trouble,) = (event for event in got if isinstance(event, LogTrouble))
    assert (trouble.member, trouble.error.message) == ("m2", "h2 cannot be reached")


async def test_a_log_that_broke_off_goes_on_after_its_last_line() -> None:
    """The lines of its last second come again from the host and are not told twice."""
    sessions = iter([journal(OLD, NEW), journal(NEW, WORDS)])
    asked: list[FakeSession] = []

    async def connect(host: str) -> Session:
        session = next(sessions, None) or journal(WORDS)
        asked.append(session)
        return session

    async with following(connect, [M1], lines=5, again_after_s=0.0) as events:
        got = await _take(events, 3)
    assert [event.text for event in got if isinstance(event, LogLine)] == [OLD, NEW, WORDS]
    first, second = ([str(word) for word in one.ran[-1].argv] for one in asked[:2])
    assert "--lines=5" in first
    assert not any(word.startswith("--since") for word in first)
    assert "--since=@1769846405" in second


async def _take(events: AsyncIterator[LogLine | LogTrouble], count: int) -> list[LogLine | LogTrouble]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]
