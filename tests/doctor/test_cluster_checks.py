"""Findings: what is wrong, its stable code, the next step, and what forbids it."""

from __future__ import annotations

import dataclasses

import pytest

from etcdops.client.view import Alarm, ClusterView, HashKV, Silence
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.checks.cluster import find, margin
from etcdops.doctor.finding import Finding
from etcdops.doctor.words import in_words
from etcdops.ids import Revision
from etcdops.wording import Texts
from tests.fakes.cluster_feed import MEMBER_IDS, START, cluster, degraded, healthy, member, quorum_lost

VIEW_CODES = {
    *("E101", "E102", "E103", "E104", "E105", "E106", "E107", "E108", "E117", "W115", "I116"),
    *("E201", "E202", "W202", "E203", "W203", "W204", "W205", "I206", "W301", "W303", "W304"),
}
"""What this file has cases for."""


def codes(view: ClusterView) -> list[str]:
    return [finding.code for finding in find(view)]


def only(view: ClusterView, code: str) -> Finding:
    found = [finding for finding in find(view) if finding.code == code]
    assert len(found) == 1, f"{code} in {codes(view)}"
    return found[0]


def test_a_healthy_cluster_has_no_findings() -> None:
    assert find(healthy()) == ()


def test_a_silent_voter_is_urgent_when_no_other_may_fail() -> None:
    """Three voters, one silent: the quorum holds without margin."""
    finding = only(degraded(at=START + 18).remembering(healthy()), "E201")
    assert finding.severity is Severity.ERROR
    assert finding.is_urgent
    assert finding.told().summary == "etcd-3 has not answered for 18 s; no further member may fail"
    assert "10.0.0.3:2379" in finding.told().next_step


def test_a_defragmentation_is_blocked_while_a_voter_is_silent() -> None:
    """It stops a member for a while, which would cost the quorum."""
    finding = only(degraded(), "W115")
    assert finding.subject == "etcd-1"
    assert "could lose the quorum" in finding.told().blocked


def test_a_lost_quorum_names_who_to_start_and_how_to_recover() -> None:
    finding = only(quorum_lost(), "E102")
    assert finding.told().summary == "quorum lost: 1 of 3 voters answers, 2 are needed"
    assert finding.told().next_step == "start 1 of etcd-1, etcd-3, or: etcdops recover --from-snapshot FILE"
    assert "E103" not in codes(quorum_lost())


def test_nobody_answering_is_one_finding_not_one_for_each_member() -> None:
    view = cluster(*(member(n, silence=Silence.REFUSED, error="connection refused") for n in (1, 2, 3)))
    assert codes(view) == ["E101"]


@pytest.mark.parametrize(
    ("silence", "step"),
    [
        (Silence.REFUSED, "start the members at 10.0.0.1:2379, 10.0.0.2:2379, or give"),
        (Silence.TIMED_OUT, "check host, network and firewall of 10.0.0.1:2379"),
        (Silence.TLS, "check --cacert, --cert, --key and the scheme"),
        (Silence.NAME, "correct the host name in --endpoints"),
        (Silence.NOT_ETCD, "usually port 2379"),
        (Silence.FAILED, "check the host of 10.0.0.1:2379, 10.0.0.2:2379"),
    ],
)
def test_nobody_answering_names_the_step_that_fits_the_reason(silence: Silence, step: str) -> None:
    """Goal: never the command that was just run; where it differs, each reason has its step."""
    view = cluster(*(member(n, silence=silence, error="why") for n in (1, 2)))
    assert step in only(view, "E101").told().next_step
    mixed = cluster(member(1, silence=silence), member(2, silence=Silence.UNREACHABLE))
    assert "check host and network of 10.0.0.2:2379" in only(mixed, "E101").told().next_step


def test_no_leader_though_all_answer() -> None:
    view = cluster(*(member(n, leader=0, size=0.1, in_use=0.1) for n in (1, 2, 3)))
    assert codes(view) == ["E103"]


def test_a_failed_read_through_the_quorum_outweighs_a_named_leader() -> None:
    """Members can name a leader that is gone."""
    assert "E103" in codes(dataclasses.replace(healthy(), serves_linearizable=False))


def test_two_members_that_call_themselves_leader() -> None:
    view = cluster(
        member(1, leader=1, term=41, size=0.1, in_use=0.1),
        member(2, leader=2, term=42, size=0.1, in_use=0.1),
        member(3, leader=2, term=42, size=0.1, in_use=0.1),
    )
    finding = only(view, "E104")
    assert "etcd-1 (term 41), etcd-2 (term 42)" in finding.told().summary


def test_what_does_not_fit_together_is_said_in_the_views_words() -> None:
    view = dataclasses.replace(
        healthy(), problems=(Texts("etcd-1 and etcd-2 give different member lists", "成员列表不一致"),)
    )
    assert only(view, "E105").told().summary == "etcd-1 and etcd-2 give different member lists"


@pytest.mark.parametrize(("alarm", "code"), [("NOSPACE", "E107"), ("CORRUPT", "E106")])
def test_alarms_are_critical_and_name_their_member(alarm: str, code: str) -> None:
    view = dataclasses.replace(healthy(), alarms=(Alarm(MEMBER_IDS[1], alarm),))
    assert only(view, code).subject == "etcd-2"


def test_differing_hashes_at_one_revision_are_found() -> None:
    """Equal revisions and different hashes mean different data."""
    view = healthy()
    hashes = (1, 1, 2)
    members = tuple(
        dataclasses.replace(m, hash=HashKV(h, Revision(5), Revision(9)))
        for m, h in zip(view.members, hashes, strict=True)
    )
    assert codes(dataclasses.replace(view, members=members, hashes_revision=Revision(9))) == ["E106"]


def test_quota_use_is_a_warning_at_80_percent_and_critical_at_95() -> None:
    for size, expected in ((7.9 * 0.8, []), (8.0 * 0.81, ["W115"]), (8.0 * 0.96, ["E117"])):
        view = cluster(*(member(n, size=size if n == 1 else 0.1, in_use=size if n == 1 else 0.1) for n in (1, 2, 3)))
        assert codes(view) == expected


def test_unknown_quotas_are_no_finding() -> None:
    """Members before 3.6 do not say; that is no reason for an alarm."""
    view = cluster(*(member(n, size=0.1, in_use=0.1, quota=0.0) for n in (1, 2, 3)))
    assert codes(view) == []


def test_much_free_space_is_a_note() -> None:
    view = cluster(*(member(n, size=2.0 if n == 1 else 0.1, in_use=0.1) for n in (1, 2, 3)))
    finding = only(view, "I116")
    assert finding.severity is Severity.INFO
    assert finding.told().next_step.startswith("etcdctl defrag")


def test_a_lagging_member_is_found_by_its_applied_index() -> None:
    view = cluster(
        member(1, size=0.1, in_use=0.1), member(2, size=0.1, in_use=0.1), member(3, size=0.1, in_use=0.1, applied=1)
    )
    assert only(view, "W301").subject == "etcd-3"


def test_mixed_versions_name_who_runs_which() -> None:
    view = cluster(*(member(n, size=0.1, in_use=0.1, version="3.5.16" if n < 3 else "3.4.23") for n in (1, 2, 3)))
    finding = only(view, "W303")
    assert finding.told().detail == "3.4.23: etcd-3; 3.5.16: etcd-1, etcd-2"


def test_an_even_number_of_voters_and_a_single_one() -> None:
    four = cluster(*(member(n, size=0.1, in_use=0.1) for n in (1, 2, 3, 4)))
    assert only(four, "W205").told().summary == "4 voters tolerate no more failures than 3 would"
    assert codes(cluster(member(1, size=0.1, in_use=0.1))) == ["I206"]


def test_a_learner_is_to_be_promoted_once_it_caught_up() -> None:
    def with_learner(applied: int | None) -> ClusterView:
        learner = member(4, size=0.1, in_use=0.1, is_learner=True, applied=applied)
        return cluster(*(member(n, size=0.1, in_use=0.1) for n in (1, 2, 3)), learner)

    assert only(with_learner(None), "W204").told().blocked == ""
    assert only(with_learner(5), "W204").told().blocked == "it is still 91 846 215 log entries behind"


def test_an_unstarted_member_counts_and_says_how_to_start_it() -> None:
    view = cluster(
        member(1, size=0.1, in_use=0.1),
        member(2, size=0.1, in_use=0.1),
        member(3, name="", silence=Silence.UNSTARTED),
    )
    assert "--initial-cluster-state existing" in only(view, "W203").told().next_step


def test_a_member_that_denies_us_is_not_called_down() -> None:
    """Down and not allowed are different things (etcd issue 13692)."""
    view = cluster(
        member(1, size=0.1, in_use=0.1),
        member(2, size=0.1, in_use=0.1),
        member(3, silence=Silence.ACCESS_DENIED, error="permission denied"),
    )
    assert "E202" in codes(view)
    assert "E201" not in codes(view)


def test_an_unknown_member_list_is_said() -> None:
    view = cluster(member(1, size=0.1, in_use=0.1), members_known=False)
    assert "E108" in codes(view)
    assert in_words(margin(view), "en").startswith("how many more may fail is unknown")


def test_slow_answers_and_reported_errors() -> None:
    view = cluster(
        member(1, size=0.1, in_use=0.1, rtt_s=1.5),
        member(2, size=0.1, in_use=0.1, errors=("etcdserver: corrupt index",)),
        member(3, size=0.1, in_use=0.1),
    )
    assert codes(view) == ["E203", "W304"]


def test_findings_come_worst_first_and_always_name_a_next_step() -> None:
    found = find(degraded())
    assert [finding.severity for finding in found] == sorted((f.severity for f in found), reverse=True)
    assert all(
        finding.told().next_step and finding.told().summary and not finding.told().summary.endswith(".")
        for finding in found
    )


def test_a_learner_that_does_not_answer_costs_no_vote() -> None:
    """It is no voter, so it is a warning."""
    view = cluster(
        *(member(n, size=0.1, in_use=0.1) for n in (1, 2, 3)),
        member(4, is_learner=True, silence=Silence.REFUSED, error="connection refused"),
    )
    assert codes(view) == ["W202"]
