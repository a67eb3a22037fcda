"""Evidence meets evidence: logs and a look at the hosts tell of one cause once, with both proofs."""

from __future__ import annotations

import dataclasses
import json

from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.diagnosis.finding import Diagnosis
from etcdops.diagnosis.finding import Finding as LogFinding
from etcdops.doctor.examine import Examination, examine
from etcdops.doctor.observation import Observation, OOMKill, Outcome
from etcdops.ids import format_id
from etcdops.inventory.model import Manager
from etcdops.services.port import State
from etcdops.services.unit_container import UnitContainer
from tests.doctor.cases import changed, down, path, silent, ways
from tests.doctor.observations import MONTH, certificate, clock, host, observed, on_host
from tests.fakes.cluster_feed import MEMBER_IDS, START, cluster

ETCD_2, ETCD_3 = (format_id(one) for one in MEMBER_IDS[1:3])


def zap(message: str, *, error: str, level: str = "warn", second: int = 0, peer: str = "") -> str:
    clock = f"2026-01-31T08:00:{second:02}.000Z"
    fields = {"error": error, "remote-peer-id": peer} if peer else {"error": error}
    return json.dumps({"level": level, "ts": clock, "caller": "x/y.go:1", "msg": message, **fields})


def logged(lines: list[str], source: str) -> Diagnosis:
    """The log of one member, as it is called where it was fetched."""
    return diagnose_lines(lines, source)


def met(seen: Observation, logs: Diagnosis) -> Examination:
    return examine(dataclasses.replace(seen, logs=logs))


def codes(examination: Examination) -> list[str]:
    return [f"{one.code} {one.subject}" for one in examination.findings]


def only(examination: Examination) -> LogFinding:
    (found,) = examination.logs
    return found


DAMAGED = [zap("discovery failed", level="fatal", error="walpb: crc mismatch", second=n) for n in range(3)]


def test_what_only_logs_know_takes_in_what_the_look_shows_of_it() -> None:
    """A damaged log: the service that fails, the silence and the refused connections are what came of it."""
    fails = host(3, on_host(3, state=State.FAILED, reason="exit status 1"))
    seen = dataclasses.replace(
        down(3, fails), paths=(path("h1", 3, Outcome.REFUSED), path("h2", 3, Outcome.REFUSED), path("h1", 2))
    )
    assert codes(examine(seen)) == ["E502 etcd-3"]
    examination = met(seen, logged(DAMAGED, "etcd-3"))
    assert codes(examination) == []
    assert only(examination).slug == "wal-corrupt"
    (below,) = examination.below[only(examination)]
    assert (below.code, below.subject, below.explains) == ("E502", "etcd-3", ("E201 etcd-3", "E601 etcd-3"))
    assert not examination.healthy


def test_a_cause_in_one_members_log_accounts_for_no_other_member() -> None:
    fails = host(2, on_host(2, state=State.FAILED, reason="exit status 1"))
    examination = met(down(2, fails), logged(DAMAGED, "etcd-3"))
    assert codes(examination) == ["E502 etcd-2"]
    assert only(examination).slug == "wal-corrupt"
    assert not examination.below


def test_a_lost_quorum_stays_beside_what_logs_know_of_one_member() -> None:
    fail = [host(n, on_host(n, state=State.FAILED, reason="exit status 1")) for n in (2, 3)]
    seen = observed(*fail, view=cluster(changed(1), silent(2), silent(3)))
    assert codes(met(seen, logged(DAMAGED, "etcd-3"))) == ["E102 cluster", "E502 etcd-2"]


REJECTED = "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"


def test_lines_about_an_expired_certificate_prove_the_one_that_expired() -> None:
    """Not another that only will, though its member is the one that complains."""
    ours = dataclasses.replace(certificate(ends=MONTH / 10), member="etcd-1", where="h1:/pki/peer.crt")
    theirs = dataclasses.replace(certificate(ends=-MONTH), member="etcd-3", where="h3:/pki/peer.crt")
    lines = [zap("rejected connection on peer endpoint", second=n, error=REJECTED) for n in range(3)]
    examination = met(observed(certificates=(ours, theirs)), logged(lines, "etcd-1"))
    proofs = {f"{one.code} {one.subject}": one.told().evidence for one in examination.findings}
    assert any(line.startswith("etcd-1:1: ") for line in proofs["E611 etcd-3"])
    assert not any(line.startswith("etcd-1:") for line in proofs["W612 etcd-1"])
    assert {one.code for one in examination.proofs.values()} == {"E611"}


def test_lines_that_prove_a_symptom_are_proof_of_its_cause() -> None:
    """A host that is cut off accounts for what nobody hears from it, and for the lines that say so."""
    cut = ways(path("h3", 1, Outcome.TIMEOUT), path("h3", 2, Outcome.TIMEOUT), path("h1", 3, Outcome.TIMEOUT))
    lines = [
        zap("prober detected unhealthy status", error="dial tcp 10.0.0.3:2380: i/o timeout", peer=ETCD_3, second=n)
        for n in range(9)
    ]
    examination = met(cut, logged(lines, "etcd-1"))
    (found,) = examination.findings
    assert (found.code, found.subject) == ("E609", "h3")
    assert any(line.startswith("etcd-1:1: ") for line in found.told().evidence)
    assert examination.logs == ()


def test_a_member_with_a_bad_certificate_accounts_for_the_ways_that_begin_at_it() -> None:
    """Its host reaches the others, and nobody shakes hands with it: no matter of the network."""
    bad = ways(path("h3", 1, Outcome.TLS, "expired"), path("h3", 2, Outcome.TLS, "expired"))
    assert codes(examine(bad)) == ["E606 etcd-3"]
    expired = dataclasses.replace(certificate(ends=-MONTH), member="etcd-3", where="h3:/pki/peer.crt")
    (found,) = examine(dataclasses.replace(bad, certificates=(expired,))).findings
    assert (found.code, found.explains) == ("E611", ("E606 etcd-3",))


def test_a_copied_member_is_named_by_where_the_copy_is() -> None:
    """Whichever of the two runs: where the inventory wants it is no copy. What the copy breaks is said once."""
    copy = host(3, on_host(3, state=State.FAILED, reason="exit status 2", name="etcd-2", member_id=MEMBER_IDS[1]))
    (found,) = examine(down(3, copy)).findings
    assert (found.code, found.subject) == ("E402", "h3")
    assert found.told().next_step.startswith("ssh h3 sudo systemctl disable --now etcd; ssh h3 sudo mv /var/lib/etcd ")
    assert {one.partition(" ")[0] for one in found.explains} == {"E201", "E404", "E502", "W406"}


def test_a_log_that_breaks_off_and_the_kernels_word_are_one_finding() -> None:
    """The journal only knows that it was killed; the kernel says for what."""
    killed = OOMKill("etcd", 102, START - 60.0, "Out of memory: Killed process 102 (etcd)")
    dead = host(2, on_host(2, state=State.FAILED, reason="killed by signal KILL"), oom_kills=(killed,))
    line = "2026-01-31T08:00:00+0000 h2 systemd[1]: etcd.service: Main process exited, code=killed, status=9/KILL"
    examination = met(down(2, dead), logged([zap("ready", error="", level="info"), line], "etcd-2"))
    (found,) = examination.findings
    assert (found.code, found.subject, examination.logs) == ("E519", "h2", ())
    assert set(found.explains) == {"E201 etcd-2", "E502 etcd-2", "terminated-by-signal (1)"}


def test_a_clock_that_members_complain_of_and_the_measured_offset_are_one_finding() -> None:
    lines = [
        '{"level":"warn","ts":"2026-01-31T08:00:00.000Z","msg":"prober found high clock drift","round-tripper-name":'
        f'"ROUND_TRIPPER_SNAPSHOT","remote-peer-id":"{ETCD_3}","clock-drift":"95.01s","rtt":"1ms"}}'
    ] * 3
    examination = met(observed(clock(1, 0.0), clock(2, 0.01), clock(3, 95.0)), logged(lines, "etcd-1"))
    (found,) = examination.findings
    assert (found.code, found.subject, examination.logs) == ("W521", "h3", ())
    assert any(line.startswith("etcd-1:1: ") for line in found.told().evidence)


def test_a_unit_that_a_migration_left_over_is_not_the_member() -> None:
    """It stands beside what the inventory names, and does not run. Alone, or running, it is judged."""
    ours, other = on_host(2), on_host(2, unit="etcd-old", state=State.STOPPED)
    assert codes(examine(observed(host(2, other, ours)))) == []
    assert codes(examine(down(2, host(2, other)))) == ["E504 etcd-2"]


def test_a_container_that_a_unit_makes_is_started_by_the_unit() -> None:
    """Its engine would start what is left of the last one, if anything is."""
    seen = on_host(2, state=State.STOPPED)
    unit = UnitContainer("kv.service", State.STOPPED, Manager.PODMAN, "etcd")
    boxed = dataclasses.replace(seen, found=dataclasses.replace(seen.found, keeper=Manager.PODMAN, of_unit=unit))
    (found,) = examine(down(2, host(2, boxed))).findings
    assert (found.code, found.told().next_step) == ("E504", "ssh h2 sudo systemctl start kv.service")


def test_a_copy_accounts_for_the_original_that_dies_of_it() -> None:
    copy = host(3, on_host(3, state=State.FAILED, name="etcd-2", member_id=MEMBER_IDS[1]))
    dead = host(2, on_host(2, state=State.FAILED, reason="exit status 2"))
    seen = observed(dead, copy, view=cluster(changed(1), silent(2), silent(3)))
    running = dataclasses.replace(
        seen, hosts={**seen.hosts, "h3": host(3, on_host(3, name="etcd-2", member_id=MEMBER_IDS[1]))}
    )
    assert codes(examine(running)) == ["E102 cluster", "E402 h3"]


def test_what_refused_connections_before_its_certificate_was_seen_is_told_with_it() -> None:
    """It was restarted with another certificate; who is refused by somebody else is a trouble of its own."""
    odd = dataclasses.replace(certificate(ends=-MONTH), member="etcd-3", where="h3:/pki/peer.crt")
    for peer, left in ((ETCD_3, []), (ETCD_2, ["peer-connection-refused"])):
        lines = [
            zap("prober detected unhealthy status", error="dial tcp: connection refused", peer=peer, second=n)
            for n in range(9)
        ]
        assert [one.slug for one in met(observed(certificates=(odd,)), logged(lines, "etcd-1")).logs] == left


def test_a_rule_on_a_host_itself_is_told_from_a_broken_network() -> None:
    """What does not let a host through to itself is on that host."""
    near = ways(*(path(f"h{n}", 3, Outcome.UNREACHABLE, "No route to host") for n in (1, 2, 3)))
    far = ways(*(path(f"h{n}", 3, Outcome.UNREACHABLE, "No route to host") for n in (1, 2)))
    assert "ssh h3 sudo nft list ruleset" in examine(near).findings[0].told().next_step
    assert "ssh h3 sudo nft" not in examine(far).findings[0].told().next_step
