"""What `etcdops status` prints for clusters in every state, in bytes (`pytest --rewrite`, then read the diff)."""

from __future__ import annotations

import dataclasses

import pytest

from etcdops.cli.output import Look, cell_width, render_json
from etcdops.cli.status_view import SCHEMA, WIDTH, exit_code, render, render_members, summary_line, to_json
from etcdops.client.view import Alarm, ClusterView, EndpointView, HashKV, MemberStatus, MemberView, Silence
from etcdops.diagnosis.causes import LANGUAGES
from etcdops.errors import ExitCode
from etcdops.ids import NO_MEMBER, ClusterID, LogIndex, MemberID, Revision, Term
from etcdops.wording import Texts
from tests.conftest import Golden

GB = 1 << 30
PLAIN = Look()
STATUS = MemberStatus(
    version="3.6.5",
    db_size_bytes=int(2.7 * GB),
    db_size_in_use_bytes=int(2.5 * GB),
    db_quota_bytes=8 * GB,
    leader=MemberID(0xA1),
    raft_term=Term(42),
    raft_index=LogIndex(91846220),
    raft_applied_index=LogIndex(91846220),
    revision=Revision(18204551),
)


def member(number: int, **changes: object) -> MemberView:
    """Member `etcd-<number>` with ID 0xa<number>; `changes` are fields of MemberStatus."""
    return MemberView(
        id=MemberID(0xA0 + number),
        name=f"etcd-{number}",
        peer_urls=(f"http://10.0.0.{number}:2380",),
        client_urls=(f"http://10.0.0.{number}:2379",),
        is_learner=False,
        started=True,
        endpoint=f"http://10.0.0.{number}:2379",
        status=dataclasses.replace(STATUS, **changes),  # type: ignore[arg-type]  # fields of MemberStatus
        rtt_s=0.003 * number,
        last_seen=1_800_000_000.0,
    )


def silent(number: int, error: str, silence: Silence) -> MemberView:
    return dataclasses.replace(
        member(number), status=None, error=error, silence=silence, rtt_s=None, last_seen=1_799_999_982.0
    )


def cluster(*members: MemberView, **changes: object) -> ClusterView:
    made = ClusterView(
        cluster_id=ClusterID(0x6F2A9C1E04D7B3A1),
        members=members,
        taken_at=1_800_000_000.0,
        took_s=0.012,
        endpoints=tuple(EndpointView(m.endpoint, True, m.id, ClusterID(0x6F2A9C1E04D7B3A1)) for m in members),
        serves_linearizable=True,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # fields of ClusterView


def hashed(view: MemberView, value: int) -> MemberView:
    return dataclasses.replace(view, hash=HashKV(value, Revision(-1), Revision(18204551)))


NO_LEADER = {"leader": NO_MEMBER, "errors": ("no leader",)}
REFUSED = silent(2, "connection refused", Silence.REFUSED)
PAUSED = silent(3, "no connection within 2 s", Silence.TIMED_OUT)
NOBODY = ClusterView(
    cluster_id=None,
    members=(
        MemberView(None, "", (), (), False, True, "http://10.0.0.1:2379", None, "connection refused", Silence.REFUSED),
        MemberView(None, "", (), (), False, True, "https://10.0.0.2:2379", None, "TLS handshake failed", Silence.TLS),
    ),
    taken_at=1_800_000_000.0,
    members_known=False,
    serves_linearizable=False,
)

CASES: dict[str, ClusterView] = {
    "healthy": cluster(member(1), member(2), member(3, raft_applied_index=LogIndex(91846218))),
    "one-silent": cluster(member(1), REFUSED, member(3)),
    "quorum-lost": cluster(member(1, **NO_LEADER), REFUSED, PAUSED, serves_linearizable=False),
    "hidden-from-us": cluster(member(1), REFUSED, PAUSED),
    "no-leader": cluster(*(member(n, **NO_LEADER) for n in (1, 2, 3)), serves_linearizable=False),
    "nobody": NOBODY,
    "access-denied": cluster(
        silent(1, "user name is empty", Silence.ACCESS_DENIED), members_known=False, serves_linearizable=None
    ),
    "nospace": cluster(
        member(1, db_size_bytes=8 * GB, db_size_in_use_bytes=8 * GB),
        member(2),
        member(3),
        alarms=(Alarm(MemberID(0xA1), "NOSPACE"),),
    ),
    "learner-and-unstarted": cluster(
        member(1),
        dataclasses.replace(member(2, is_learner=True), is_learner=True),
        MemberView(
            MemberID(0xA3),
            "",
            ("http://10.0.0.3:2380",),
            (),
            False,
            False,
            "",
            None,
            "added, but never started",
            Silence.UNSTARTED,
        ),
    ),
    "two-clusters": cluster(
        member(1),
        problems=(
            Texts("two clusters: http://10.0.0.9:2379 belongs to cluster 00000000000000c2, not to 6f2a", "两个集群"),
        ),
    ),
    "hashes-differ": cluster(
        hashed(member(1), 1), hashed(member(2), 1), hashed(member(3), 2), hashes_revision=Revision(18204551)
    ),
    "wide-names": cluster(
        dataclasses.replace(member(1), name="领导者节点"),
        dataclasses.replace(member(2), name="etcd-production-beijing-02"),
    ),
    "control-characters": cluster(dataclasses.replace(member(1), name="evil\x1b[2J\nname")),
}

EXIT_CODES = {
    "healthy": ExitCode.OK,
    "nobody": ExitCode.UNREACHABLE,
    "access-denied": ExitCode.ACCESS_DENIED,
    "wide-names": ExitCode.OK,
    "control-characters": ExitCode.OK,
}


def test_what_nobody_told_is_unknown_not_a_voter() -> None:
    """A silent endpoint without a member list may be a voter, a learner or no member at all."""
    (first, second) = (entry for entry in to_json(NOBODY)["members"] if isinstance(entry, dict))  # type: ignore[union-attr]
    for entry in (first, second):
        assert (entry["role"], entry["is_learner"]) == (None, None)


@pytest.mark.parametrize("name", CASES)
def test_the_report(name: str, golden: Golden) -> None:
    """Verdict, table, findings, what is still possible."""
    golden.check(f"{name}.txt", render(CASES[name], PLAIN))


@pytest.mark.parametrize("name", CASES)
def test_the_exit_code(name: str) -> None:
    """console.md: 0 healthy, 3 nobody reachable, 4 not let in, 5 everything between."""
    assert exit_code(CASES[name]) is EXIT_CODES.get(name, ExitCode.UNHEALTHY)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", CASES)
def test_the_report_fits_80_columns_and_obeys_no_member(name: str, language: str) -> None:
    """Also with wide characters, and whatever a member calls itself reaches the terminal as text."""
    for line in render(CASES[name], PLAIN, language=language).splitlines():
        assert cell_width(line) <= WIDTH, line
        assert line.isprintable(), line


def test_a_member_alone_has_nobody_to_be_compared_with() -> None:
    """Which is no shortcoming of the look."""
    alone = dataclasses.replace(member(1), hash=HashKV(0x2A, Revision(7), Revision(5)))
    view = cluster(alone, hashes_revision=Revision(7))
    assert "0000002a" in render(view, PLAIN)
    assert "compare" not in render(view, PLAIN)
    assert "cannot be compared" in render(cluster(alone, member(2), hashes_revision=Revision(7)), PLAIN)


def test_in_chinese_the_head_the_table_the_findings_and_what_is_left(golden: Golden) -> None:
    """As doctor and diagnose tell them: `--lang`, or the language of the terminal."""
    golden.check("quorum-lost-zh.txt", render(CASES["quorum-lost"], PLAIN, language="zh"))
    golden.check("lines-zh.txt", "".join(summary_line(view, "zh") + "\n" for view in CASES.values()))


def test_json_has_the_same_fields_and_codes_in_every_language() -> None:
    """Scripts read codes and numbers, people the sentences."""
    english, chinese = (to_json(CASES["quorum-lost"], language) for language in LANGUAGES)
    assert english["possible"] != chinese["possible"]
    assert english["summary"] != chinese["summary"]
    for document in (english, chinese):
        for told in ("possible", "summary", "problems", "findings"):
            document.pop(told)
    assert english == chinese


def test_what_a_member_calls_itself_does_not_reach_the_terminal_in_what_is_left() -> None:
    """The sentence names those that answer."""
    evil = dataclasses.replace(member(1, **NO_LEADER), name="evil\x1b[2J")
    text = render(cluster(evil, REFUSED, PAUSED, serves_linearizable=False), PLAIN)
    assert "snapshots from evil" in text
    assert "\x1b" not in text


def test_wide_shows_every_column(golden: Golden) -> None:
    golden.check("one-silent-wide.txt", render(CASES["one-silent"], PLAIN, wide=True))


def test_columns_that_are_asked_for_stay_at_any_width() -> None:
    """The demo promises raft term, raft index and applied index; 78 columns are all it has."""
    text = render_members(CASES["healthy"], PLAIN, width=78, always=("TERM", "INDEX", "APPLIED"))
    assert max(map(cell_width, text.splitlines())) <= 78
    assert {"MEMBER", "ROLE", "HEALTH", "TERM", "INDEX", "APPLIED", "DB"} <= set(text.splitlines()[0].split())


def test_ascii_is_ascii(golden: Golden) -> None:
    text = render(CASES["quorum-lost"], Look(ascii=True))
    assert text.isascii()
    golden.check("quorum-lost-ascii.txt", text)


def test_colours_say_nothing_that_words_do_not(golden: Golden) -> None:
    """Taking the escapes away gives the plain report, byte for byte."""
    import click

    text = render(CASES["quorum-lost"], Look(color=True))
    assert "\x1b[" in text
    assert click.unstyle(text) == render(CASES["quorum-lost"], PLAIN)
    golden.check("quorum-lost-color.txt", text)


def test_json_has_every_member_with_its_error(golden: Golden) -> None:
    """etcd #9531 and #9535: silent members are inside, and no 64-bit ID is a number."""
    view = CASES["quorum-lost"]
    document = to_json(view)
    golden.check("quorum-lost.json", render_json(SCHEMA, document) + "\n")
    golden.check("healthy.json", render_json(SCHEMA, to_json(CASES["healthy"])) + "\n")


def test_lines_for_logs_and_screen_readers(golden: Golden) -> None:
    golden.check("lines.txt", "".join(summary_line(view) + "\n" for view in CASES.values()))
