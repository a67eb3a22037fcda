"""Causes before symptoms; what live checks and logs say of one cause is one finding."""

from __future__ import annotations

import dataclasses
import json

import pytest

from etcdops.client.metrics import QUOTA
from etcdops.client.view import Silence
from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.doctor.codes import codes
from etcdops.doctor.examine import examine
from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import HostObservation, Observation, Outcome
from etcdops.doctor.roots import ANYWHERE, SAME_PLACE
from etcdops.services.port import State
from tests.doctor.cases import changed, down, path, silent, ways
from tests.doctor.observations import (
    NEWEST,
    OTHER_CLUSTER,
    STRANGER,
    asked,
    disk,
    host,
    observed,
    on_host,
    reading,
)
from tests.fakes.cluster_feed import cluster, member


def shown(observation: Observation) -> dict[str, Finding]:
    return {f"{one.code} {one.subject}": one for one in examine(observation).findings}


def test_a_host_that_is_off_is_one_finding() -> None:
    """Its member's silence and everybody's timeouts are what comes of it."""
    seen = dataclasses.replace(
        down(2, HostObservation("h2", error="no connection within 5 s")),
        paths=(path("h1", 2, Outcome.TIMEOUT), path("h3", 2, Outcome.TIMEOUT), path("h1", 3)),
    )
    found = shown(seen)
    assert list(found) == ["E501 h2"]
    assert set(found["E501 h2"].explains) == {"E201 etcd-2", "E602 etcd-2"}


def test_a_full_disk_stands_before_the_service_that_died_of_it() -> None:
    full = host(2, on_host(2, state=State.FAILED, reason="exit status 2"), file_systems=(disk(free_bytes=0),))
    found = shown(down(2, full))
    assert list(found) == ["E511 h2"]
    assert found["E511 h2"].explains == ("E201 etcd-2", "E502 etcd-2")


def test_a_cause_accounts_for_its_own_member_only() -> None:
    """The disk of one host says nothing about the silence of a member elsewhere."""
    full = host(2, file_systems=(disk(free_bytes=0),))
    assert set(shown(down(3, full))) == {"E511 h2", "E201 etcd-3"}


def test_a_lost_quorum_is_never_hidden_under_what_led_to_it() -> None:
    """Both stopped services are named, the silence of their members is not said again."""
    stopped = [host(n, on_host(n, state=State.STOPPED)) for n in (2, 3)]
    view = cluster(changed(1), silent(2), silent(3))
    assert set(shown(observed(*stopped, view=view))) == {"E102 cluster", "E504 etcd-2", "E504 etcd-3"}


def test_a_host_cut_off_is_the_finding_not_those_it_cannot_reach() -> None:
    cut = ways(path("h2", 1, Outcome.TIMEOUT), path("h2", 3, Outcome.TIMEOUT), path("h1", 2, Outcome.TIMEOUT))
    assert list(shown(cut)) == ["E609 h2"]


@pytest.mark.parametrize("silence", [Silence.REFUSED, Silence.TIMED_OUT])
def test_endpoints_alone_still_tell_who_is_silent(silence: Silence) -> None:
    view = cluster(changed(1), changed(2), member(3, silence=silence, error="why", version=NEWEST))
    assert list(shown(asked(view=view))) == ["E201 etcd-3"]


def test_the_quota_of_older_members_comes_from_their_metrics() -> None:
    """Status does not tell it before 3.6."""
    view = cluster(*(member(n, version=NEWEST, size=1.95, in_use=1.95, quota=0) for n in (1, 2, 3)))
    metrics = {f"etcd-{n}": reading({QUOTA: 2.0 * 1024**3}) for n in (1, 2, 3)}
    assert {one.code for one in examine(asked(view=view, metrics=metrics)).findings} == {"E117"}
    assert examine(asked(view=view, metrics={})).healthy


MISMATCH = {
    "level": "error",
    "ts": "2026-01-31T08:00:00.000Z",
    "caller": "rafthttp/stream.go:1",
    "msg": "request cluster ID mismatch",
    "local-member-id": "8e9e05c52164694d",
    "local-member-cluster-id": "6f2a9c1e04d7b3a1",
    "remote-peer-id": "91bc3c398fb3c146",
    "remote-peer-cluster-id": "cdf818194e3a8c32",
}
LOG = [json.dumps(MISMATCH, separators=(",", ":"))] * 5


def test_a_stray_process_seen_live_and_in_logs_is_one_finding_with_both_proofs() -> None:
    """The IDs on the host name the process; the peers' lines prove that they suffer from it."""
    seen = down(2, host(2, on_host(2, member_id=STRANGER, cluster_id=OTHER_CLUSTER)))
    logs = diagnose_lines(LOG, "h1.log")
    assert [one.slug for one in logs.findings] == ["cluster-id-mismatch"]
    examination = examine(dataclasses.replace(seen, logs=logs))
    assert [one.code for one in examination.findings] == ["E401"]
    assert examination.logs == ()
    evidence = examination.findings[0].told().evidence
    assert any(line.startswith("h2: etcd-2 runs on /var/lib/etcd: member 91bc3c398fb3c146") for line in evidence)
    assert any(line.startswith("h1.log:1: ") for line in evidence)


def test_what_only_logs_know_stays_a_finding_of_logs() -> None:
    examination = examine(dataclasses.replace(observed(), logs=diagnose_lines(LOG, "h1.log")))
    assert [one.slug for one in examination.logs] == ["cluster-id-mismatch"]
    assert not examination.healthy


def test_the_edges_have_no_cycle_and_name_codes_that_exist() -> None:
    edges = {code: {*SAME_PLACE.get(code, ()), *ANYWHERE.get(code, ())} for code in (*SAME_PLACE, *ANYWHERE)}
    assert {*edges, *(one for symptoms in edges.values() for one in symptoms)} <= set(codes())

    def below(code: str, path: tuple[str, ...]) -> None:
        assert code not in path, f"{' -> '.join((*path, code))}"
        for symptom in edges.get(code, ()):
            below(symptom, (*path, code))

    for code in edges:
        below(code, ())


def test_a_page_that_is_asked_for_wrongly_names_the_nearest() -> None:
    from etcdops.doctor.codes import find_code
    from etcdops.errors import UsageError

    with pytest.raises(UsageError) as caught:
        find_code("E109")
    assert "W109" in caught.value.hint
