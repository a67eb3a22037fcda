"""Several members: one picture, whatever their clocks, order and interleaving."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from etcdops.diagnosis.clocks import offsets
from etcdops.diagnosis.collect import Collector
from etcdops.diagnosis.diagnose import conclude, diagnose, diagnose_lines
from etcdops.diagnosis.finding import Diagnosis
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.reading import find_sources
from tests.diagnosis.cases import SAMPLES, made

M1, M2, M3 = "8a1f9d2c3b4e5f60", "9b2f9d2c3b4e5f61", "ac3f9d2c3b4e5f62"


def election(member: str, leader: str, term: int, clock: str) -> str:
    return f"2018-03-02 {clock}.000000 I | raft: raft.node: {member} elected leader {leader} at term {term}"


def diagnosed(**logs: list[str]) -> Diagnosis:
    return conclude(collected(**logs))


def collected(**logs: list[str]) -> Collector:
    collector = Collector()
    for name, lines in logs.items():
        collector.source(name)
        collector.take(parse_line(line, name, number) for number, line in enumerate(lines, 1))
    return collector


def slugs(diagnosis: Diagnosis) -> list[str]:
    return [finding.slug for finding in diagnosis.findings]


def test_a_full_disk_explains_what_the_others_see() -> None:
    """A dead member is refused connections and lost elections elsewhere: one finding, the disk."""
    refused = f"rafthttp: health check for peer {M1} could not connect: dial tcp 10.0.0.1:2380: connection refused"
    found = diagnosed(
        m1=["2018-03-02 10:00:00.000000 C | etcdserver: create wal error: no space left on device"],
        m2=[f"2018-03-02 10:00:0{second}.000000 W | {refused}" for second in range(1, 9)]
        + [
            f"2018-03-02 10:01:0{second}.000000 I | raft: {M2} is starting a new election at term 5"
            for second in range(5)
        ],
    )
    assert slugs(found) == ["disk-full"]
    assert {symptom.slug for symptom in found.findings[0].explains} == {"peer-connection-refused", "quorum-lost"}
    assert found.findings[0].member == "m1"


def test_clocks_are_put_right_by_elections_both_saw() -> None:
    """m2's clock is 95 s ahead; the median of the terms they have in common tells, and its lines move back."""
    m1 = [election(M1, M1, term, f"10:0{term}:00") for term in range(2, 7)]
    m2 = [election(M2, M1, term, f"10:0{term + 1}:35") for term in range(2, 7)]
    m2.append("2018-03-02 10:31:35.000000 C | etcdserver: create wal error: no space left on device")
    collector = collected(m1=m1, m2=m2)
    shifted = offsets(collector.sources)
    assert shifted["m2"] - shifted["m1"] == pytest.approx(95.0)
    finding = conclude(collector).findings[0]
    assert finding.slug == "disk-full"
    assert finding.first == pytest.approx(1519986600.0 if shifted["m2"] else 1519986695.0)


def test_who_starts_late_learns_of_the_leader_late_and_its_clock_is_right() -> None:
    """m2 was started an hour after the election; later elections it sees itself."""
    m1 = [election(M1, M1, 2, "10:00:00"), election(M1, M1, 3, "11:30:00")]
    m2 = ["2018-03-02 11:00:00.000000 I | etcdmain: etcd Version: 3.3.10", election(M2, M1, 2, "11:00:01")]
    assert set(offsets(collected(m1=m1, m2=m2).sources).values()) == {0.0}
    m2.append(election(M2, M1, 3, "11:31:35"))
    shifted = offsets(collected(m1=m1, m2=m2).sources)
    assert shifted["m2"] - shifted["m1"] == pytest.approx(95.0)


def test_small_differences_are_not_corrected() -> None:
    """News of an election takes its time."""
    collector = collected(m1=[election(M1, M1, 2, "10:00:00")], m2=[election(M2, M1, 2, "10:00:01")])
    assert set(offsets(collector.sources).values()) == {0.0}


def test_two_hosts_with_one_identity_are_found() -> None:
    """No single log tells; a copied data directory does it."""
    zap = '{"level":"info","ts":"2024-05-02T10:00:0%d.000Z","caller":"wal/wal.go:1","msg":"slow fdatasync","took":"2s"'
    line = zap + ',"local-member-id":"%s"}'
    hosts = {
        host: [f"May 02 10:00:00 {host} etcd[1]: " + line % (second, M1) for second in range(3)] for host in ("a", "b")
    }
    assert "duplicate-cloned-member" in slugs(diagnosed(**hosts))
    hosts["b"] = [text.replace(M1, M2) for text in hosts["b"]]
    assert "duplicate-cloned-member" not in slugs(diagnosed(**hosts))


def lived(host: str, member: str, second: int, *events: str) -> list[str]:
    """A process of etcd 3.5 on a host: its start, and events as seconds and messages."""
    frame = '2024-05-02T10:00:%02d+0000 {0} etcd[1]: {{"level":"info","ts":"2024-05-02T10:00:%02d.000Z","msg":"%s"}}'
    frame = frame.format(host)
    started = (frame % (second, second, "starting etcd server")).replace("}", f',"local-member-id":"{member}"}}')
    return [started, *(frame % (int(at), int(at), text) for at, text in (event.split(" ", 1) for event in events))]


def test_a_copy_that_falls_over_again_and_again_is_found_beside_the_original() -> None:
    """Each of its lives is too short to prove much. Source: a cloned data directory on the test hosts."""
    lost = "%d raft.node: " + f"{M1} lost leader {M2} at term 2"
    stays = lived("a", M1, 0, f"40 raft.node: {M1} elected leader {M2} at term 3")
    copy = [line for second in (10, 12, 14) for line in lived("b", M1, second, lost % (second + 1))]
    assert slugs(diagnosed(a=stays, b=copy)).count("duplicate-cloned-member") == 1


def test_a_copy_that_dies_before_it_knows_a_leader_is_known_by_its_complaints() -> None:
    """Its starts do not name it, its other lines do. Source: a cloned data directory under the bundled member."""
    complaint = (
        '2024-05-02T10:00:%02d+0000 b etcd[1]: {"level":"warn","ts":"2024-05-02T10:00:%02d.000Z",'
        f'"msg":"failed to find remote peer in cluster","local-member-id":"{M1}","remote-peer-id-from":"{M3}"}}'
    )
    copy = [complaint % (second, second) for second in (12, 14)]
    found = slugs(diagnosed(a=lived("a", M1, 0, f"11 {M1} elected leader {M3} at term 3"), b=copy))
    assert found == ["duplicate-cloned-member"]


def test_files_that_name_no_host_are_told_apart_by_their_names() -> None:
    """As etcd writes them itself. What was rotated follows, what was copied has the same lines: no second member."""
    zap = '{"level":"info","ts":"2024-05-02T10:00:%02d.000Z","msg":"%s %s is starting a new election at term 5"}'
    one = [zap % (second, "", M1) for second in range(0, 30, 5)]
    other = [zap % (second, "here", M1) for second in range(3, 30, 5)]
    assert slugs(diagnosed(**{"m1.log": one, "m2.log": other}))[0] == "duplicate-cloned-member"
    assert "duplicate-cloned-member" not in slugs(diagnosed(**{"etcd.log": one, "etcd.log.bak": one[2:]}))
    later = [zap % (second, "", M1) for second in range(31, 59, 5)]
    assert "duplicate-cloned-member" not in slugs(diagnosed(**{"etcd.log.1": one, "etcd.log": later}))


def test_rotated_files_of_whole_seconds_are_one_member() -> None:
    """raft's lines of 3.4 tell no fraction: where one file ends and the next begins they seem to overlap."""
    raft = f"raft2018/03/02 10:00:%02d INFO: {M1} is starting a new election at term 5 ({{}})"
    wal = f"2018-03-02 10:00:%02d.900000 I | etcdserver: starting member {M1} in cluster 2c48bef043e896b6 ({{}})"
    files = {
        f"etcd.log.{number}": [raft.format(number) % (number * 9), wal.format(number) % (number * 9 + 9)]
        for number in range(4)
    }
    assert "duplicate-cloned-member" not in slugs(diagnosed(**files))


def test_who_is_added_is_not_who_tells_it() -> None:
    """Where a rotated file begins. Source: etcdserver/membership/cluster.go, AddMember, 3.4; raft.go."""
    added = f"2018-03-02 10:00:00.000000 I | membership: added member {M2} [http://m2:2380] to cluster {M3}"
    told = f"raft2018/03/02 10:00:01 INFO: {M1} [logterm: 1, index: 3] sent MsgVote request to {M2} at term 2"
    assert diagnose_lines([added]).sources[0].member == ""
    assert diagnose_lines([added, told]).sources[0].member == M1


def test_a_member_that_is_down_accounts_for_what_is_said_of_it_and_of_nobody_else() -> None:
    """m2 does not start, and m3 was killed: two findings. Source: real members, two faults at once."""
    refused = '{"level":"warn","ts":"2024-05-02T10:01:%02d.000Z","msg":"prober detected unhealthy status",'
    refused += '"remote-peer-id":"%s","error":"dial tcp 10.0.0.9:2380: connect: connection refused"}'
    says = '{"level":"%s","ts":"2024-05-02T10:00:%02d.000Z","msg":"%s","local-member-id":"%s"}'
    m2 = [says % ("info", 1, "starting local member", M2), says % ("fatal", 9, "walpb: crc mismatch", M2)]
    own = [refused % (second, M2) for second in range(3)]
    others = [refused % (second, M3) for second in range(3, 6)]
    assert slugs(diagnosed(m1=own, m2=m2)) == ["wal-corrupt"]
    both = diagnosed(m1=own + others, m2=m2)
    assert slugs(both) == ["wal-corrupt", "peer-connection-refused"]
    m3 = [says % ("info", 1, "starting local member", M3)]
    m3.append(says % ("fatal", 9, "listen tcp 10.0.0.9:2380: bind: address already in use", M3))
    assert slugs(diagnosed(m1=own + others, m2=m2, m3=m3)) == ["wal-corrupt", "port-in-use"]


def test_the_reason_at_one_peer_is_not_that_of_another() -> None:
    """In one log: why m2 is not reached is told, of m3 only that its streams broke."""
    refused = "2018-03-02 10:00:0%d.000000 W | rafthttp: health check for peer %s could not connect: "
    refused += "dial tcp 10.0.0.9:2380: connect: connection refused"
    lost = "2018-03-02 10:00:0%d.000000 W | rafthttp: lost the TCP streaming connection with peer %s (stream Message)"
    own = [refused % (second, M2) for second in range(3)]
    assert slugs(diagnosed(m1=[*own, lost % (4, M2), lost % (5, M2)])) == ["peer-connection-refused"]
    both = diagnosed(m1=[*own, lost % (4, M3), lost % (5, M3)])
    assert [(found.slug, found.peers) for found in both.findings] == [
        ("peer-connection-refused", (M2,)),
        ("peer-unreachable", (M3,)),
    ]


def test_a_disk_that_moved_to_another_host_is_no_copy() -> None:
    """The old host stopped first, and has another member by now."""
    moved = [
        *lived("a", M1, 0, "9 received signal; shutting down"),
        *lived("a", M2, 20, f"40 {M2} elected leader {M3} at term 3"),
    ]
    assert "duplicate-cloned-member" not in slugs(
        diagnosed(a=moved, b=lived("b", M1, 15, f"40 {M1} elected leader {M3} at term 3"))
    )
    stayed = lived("a", M1, 0, f"40 {M1} elected leader {M3} at term 3")
    assert "duplicate-cloned-member" in slugs(
        diagnosed(a=stayed, b=lived("b", M1, 15, f"40 {M1} elected leader {M3} at term 3"))
    )


def test_a_stream_that_meant_another_member_is_a_mismatch() -> None:
    """What the one who dials is told. Source: rafthttp/stream.go, its answer to `412 Precondition Failed`."""
    line = (
        '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","msg":"peer became inactive (message send to peer failed)",'
        f'"peer-id":"{M1}","error":"failed to dial {M1} on stream MsgApp v2 '
        '(unhandled error \\"to field mismatch\\\\n\\" when precondition failed)"}'
    )
    assert slugs(diagnose_lines([line])) == ["member-id-mismatch"]


def test_who_died_of_not_joining_says_so_and_not_only_that_a_port_was_closed() -> None:
    """The reason of each attempt stands before it; a reason that is a fault of its own remains the cause."""
    asked = (
        '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","msg":"failed to get cluster response",'
        '"address":"http://10.0.0.1:2380/members","error":"Get \\"http://10.0.0.1:2380/members\\": dial tcp %s"}'
    )
    died = (
        '{"level":"fatal","ts":"2024-05-02T10:00:01.000Z","msg":"discovery failed","error":"cannot fetch cluster info '
        'from peer urls: could not retrieve cluster information from the given URLs"}'
    )
    refused = asked % "10.0.0.1:2380: connect: connection refused"
    assert slugs(diagnose_lines([refused, died])) == ["join-cluster-unreachable"]
    assert slugs(diagnose_lines([refused])) == ["peer-connection-refused"]
    assert slugs(diagnose_lines([asked % "lookup m1 on 10.0.0.9:53: no such host", died])) == ["dns-lookup-failed"]


def test_a_leader_that_stops_as_the_last_one_is_no_refused_change() -> None:
    """Source: etcdserver/server.go, TransferLeadership at Stop; 3.4 and later, both loggers."""
    text = "2018-03-02 10:00:00.000000 W | etcdserver: 5f999a828be1da7e failed to transfer leadership (%s)"
    zap = '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","msg":"leadership transfer failed","error":"%s"}'
    reason = "etcdserver: unhealthy cluster"
    assert slugs(diagnose_lines([text % reason, zap % reason])) == []


def test_a_broken_file_in_the_words_of_the_bundled_member() -> None:
    """Source: node/config, reading --config-file."""
    line = (
        '{"level":"fatal","ts":"2024-05-02T10:00:00.000Z","msg":"failed to start the member",'
        '"error":"/etc/etcd.yaml is not YAML: line 2: mapping values are not allowed here"}'
    )
    assert slugs(diagnose_lines([line])) == ["config-invalid"]


def test_a_full_disk_in_the_words_of_the_bundled_member() -> None:
    """The save that failed is named with the reason. Source: node/server/ending.py."""
    line = (
        '{"level":"fatal","ts":"2024-05-02T10:00:00.000Z","msg":"failed to save Raft hard state and entries",'
        '"error":"/var/lib/etcd/member/wal.db: no space left while appending"}'
    )
    told = '{"level":"fatal","ts":"2024-05-02T10:00:00.000Z","msg":"the member stopped","reason":"the disk is full"}'
    assert slugs(diagnose_lines([line])) == slugs(diagnose_lines([told])) == ["disk-full"]


@pytest.mark.parametrize("reason", ["connect: network is unreachable", "Network is unreachable"])
def test_a_host_without_a_way_accounts_for_timeouts_of_the_others(reason: str) -> None:
    """Go's words, and those of the C library in the bundled member."""
    line = (
        '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","msg":"prober detected unhealthy status",'
        '"remote-peer-id":"%s","rtt":"0s","error":"dial tcp 10.0.0.2:2380: %s"}'
    )
    found = diagnosed(m1=[line % (M2, reason)], m2=[line % (M1, "i/o timeout")])
    assert slugs(found) == ["network-unreachable"]


def test_a_peer_port_that_is_none_is_found_though_streams_stand() -> None:
    """Ports swapped: h3 reads from the others, and what they post to it is not found. Source: rafthttp/pipeline.go."""
    posted = f"failed to write {M3} on pipeline (unexpected http status Not Found while posting to"
    lines = [
        f"2018-03-02 10:00:00.000000 I | rafthttp: peer {M3} became active",
        f'2018-03-02 10:00:01.000000 E | rafthttp: {posted} "http://10.0.0.3:2380/raft")',
    ]
    assert slugs(diagnose_lines(lines)) == ["peer-unreachable"]


@pytest.mark.parametrize("told", ["prober detected unhealthy status", "failed to get version"])
@pytest.mark.parametrize(("told_s", "found"), [(3, []), (9, ["peer-connection-refused"])])
def test_what_was_met_before_a_peer_came_back_is_old(told: str, told_s: int, found: list[str]) -> None:
    """A prober asks every 4 s and tells later; what it tells after that is new. Source: rafthttp/probing_status.go."""
    back = f'{{"level":"info","ts":"2024-05-02T10:00:00.000Z","msg":"peer became active","peer-id":"{M1}"}}'
    probed = (
        f'{{"level":"warn","ts":"2024-05-02T10:00:0{told_s}.000Z","msg":"{told}",'
        f'"remote-peer-id":"{M1}","rtt":"1ms","error":"dial tcp 10.0.0.1:2380: connect: connection refused"}}'
    )
    posted = (
        '{"level":"warn","ts":"2024-05-02T10:00:01.000Z","msg":"peer became inactive (message send to peer failed)",'
        f'"peer-id":"{M1}","error":"failed to write {M1} on pipeline (dial tcp 10.0.0.1:2380: connection refused)"}}'
    )
    assert slugs(diagnose_lines([back, probed])) == found
    assert slugs(diagnose_lines([back, posted, probed])) == ["peer-connection-refused"]


@pytest.mark.parametrize(
    "removal",
    [
        '{"level":"info","ts":"2024-05-02T10:00:09.000Z","msg":"removed remote peer","local-member-id":"%s",'
        f'"removed-remote-peer-id":"{M1}"}}' % M2,
        f"2024-05-02 10:00:09.000000 I | rafthttp: removed peer {M1}",
    ],
)
def test_a_peer_that_was_removed_is_not_to_be_reached(removal: str) -> None:
    """What it did before is over; another one that was refused is not. Source: rafthttp/transport.go, removePeer."""
    refused = (
        '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","msg":"prober detected unhealthy status",'
        '"remote-peer-id":"%s","rtt":"1ms","error":"dial tcp 10.0.0.1:2380: connect: connection refused"}'
    )
    assert slugs(diagnose_lines([refused % M1, removal])) == []
    assert slugs(diagnose_lines([refused % M3, removal])) == ["peer-connection-refused"]
    assert slugs(diagnose_lines([removal, refused % M1])) == ["peer-connection-refused"]


def test_a_name_that_is_not_found_while_a_certificate_is_checked_is_no_trouble_of_the_network() -> None:
    """Source: client/pkg/transport/listener_tls.go, checkHostInSAN, with the errors of its look-ups."""
    looked_up = "lookup odd.example.test on 10.0.0.53:53: dial udp 10.0.0.53:53: connect: "
    for reason in ("connection refused", "network is unreachable", "no route to host"):
        error = f'tls: \\"10.0.0.3\\" does not match any of DNSNames [\\"odd.example.test\\"] ({looked_up}{reason})'
        line = f'{{"level":"warn","ts":"2026-01-31T08:00:00.000Z","msg":"rejected connection","error":"{error}"}}'
        assert slugs(diagnose_lines([line] * 3, "m1")) == ["tls-san-mismatch"]


def test_one_late_heartbeat_is_told_to_each_follower_and_stays_one() -> None:
    """A leader that was late once is no better proof than a member that is stopped again and again."""
    late = (
        '"msg":"leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk"'
    )
    lines = [
        f'{{"level":"warn","ts":"2026-01-31T08:00:0{second}.100Z",{late},"to":"{to}"}}'
        for second in (1, 5)
        for to in (M2, M3)
    ]
    assert [one.confidence for one in diagnose_lines(lines[:2], "m1").findings] == [0.75]
    assert [one.confidence for one in diagnose_lines(lines, "m1").findings] == [0.95]


@pytest.mark.parametrize("today", [M3, M2])
def test_what_a_member_met_in_a_former_life_is_over(today: str) -> None:
    """After a recovery the log goes on with another ID, and the peers of the old cluster are gone with it."""
    refused = (
        "2018-03-02 10:0%d:00.000000 W | rafthttp: health check for peer " + M1 + " could not connect: "
        "dial tcp 10.0.0.1:2380: connect: connection refused"
    )
    start = "2018-03-02 10:08:00.000000 I | etcdmain: etcd Version: 3.3.8"
    before = [election(M2, M1, 2, "10:00:00"), refused % 1, refused % 6]
    after = [start, election(today, today, 2, "10:08:05")]
    still = today == M2
    assert slugs(diagnose_lines([*before, *after])) == ["peer-connection-refused"] * still
    assert slugs(diagnose_lines([*before, *after, refused % 9])) == ["peer-connection-refused"]
    in_turns = [*before, *after, election(M2, M1, 3, "10:09:00")]
    assert "peer-connection-refused" in slugs(diagnose_lines(in_turns)), "a log of several members is nobody's new life"


def test_a_peer_url_of_this_machine_only_accounts_for_what_the_others_see() -> None:
    """As etcd 3.4 tells its settings; a client URL like that explains nothing about peers."""
    frame = "2018-03-02 10:00:00.000000 I | pkg/flags: recognized and used environment variable ETCD_%s"
    known = "INITIAL_CLUSTER=m1=http://10.0.0.1:2380,m3=http://127.0.0.1:2380"
    dial = f"failed to dial {M3} on stream Message (dial tcp %s: connect: connection refused)"
    refused = f"2018-03-02 10:00:00.000000 W | rafthttp: {dial}"
    told = [frame % "INITIAL_ADVERTISE_PEER_URLS=http://127.0.0.1:2380", frame % known]
    found = diagnosed(m1=[refused % "127.0.0.1:2380"], m3=told)
    assert slugs(found) == ["advertise-loopback"]
    assert [symptom.slug for symptom in found.findings[0].explains] == ["peer-connection-refused"]
    told[0] = frame % "ADVERTISE_CLIENT_URLS=http://127.0.0.1:2379"
    assert slugs(diagnosed(m1=[refused % "10.0.0.2:2380"], m3=told))[0] == "peer-connection-refused"


@pytest.mark.parametrize("folder", sorted((SAMPLES / "hosts").iterdir()), ids=lambda folder: str(folder.name))
def test_journals_of_three_hosts_name_the_cause(folder: Path) -> None:
    """Kept from faults made on the test hosts (tests/diagnosis/faults), shortened; the folder's name is the cause."""
    assert slugs(diagnose(find_sources([str(folder)])))[0] == folder.name.partition(".")[0]


@pytest.mark.parametrize("seed", range(5))
def test_order_of_sources_changes_nothing(seed: int, tmp_path: Path) -> None:
    """Five logs in any order: the same findings in the same order."""
    chosen = [case for case in made() if not case.benign][seed * 7 : seed * 7 + 5]
    names = []
    for number, case in enumerate(chosen):
        path = tmp_path / f"m{number}.log"
        path.write_text(case.text, encoding="utf-8")
        names.append(str(path))
    straight = slugs(diagnose(find_sources(names)))
    random.Random(seed).shuffle(names)
    assert slugs(diagnose(find_sources(names))) == straight


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_lines_between_change_nothing(seed: int) -> None:
    """Lines that say nothing, at random places, and the order of lines about other things."""
    dice = random.Random(seed)
    for case in made()[seed::5]:
        lines = case.text.splitlines()
        for _ in range(10):
            noise = f"2024-05-02 10:00:00.000000 I | mvcc: store.index: compact {dice.randrange(9999)}"
            lines.insert(dice.randrange(len(lines) + 1), noise)
        assert slugs(diagnose_lines(lines)) == slugs(case.diagnosed()), case.name


@pytest.mark.slow
def test_cut_first_and_last_lines_change_nothing() -> None:
    """An excerpt begins and ends where a pager did."""
    whole = '{"level":"info","ts":"2024-05-02T10:00:00.000Z","caller":"mvcc/index.go:214","msg":"compact tree index"}'
    for case in made():
        lines = [whole[37:], *case.text.splitlines(), whole[:80]]
        assert slugs(diagnose_lines(lines)) == slugs(case.diagnosed()), case.name


@pytest.mark.parametrize(("zone", "shown"), [("Z", "10:00:00"), ("+0800", "18:00:00"), ("-07:00", "03:00:00")])
def test_time_zones_are_one_time(zone: str, shown: str) -> None:
    """Zap writes the zone of its host."""
    line = f'{{"level":"warn","ts":"2024-05-02T{shown}.000{zone}","msg":"slow fdatasync","took":"2s"}}'
    finding = diagnose_lines([line]).findings[0]
    assert finding.first == 1714644000.0


def test_the_timeline_is_in_the_order_of_one_clock() -> None:
    """m2's clock is two minutes ahead: its stop comes after m1 saw the leader, as it did."""
    m1 = [election(M1, M1, term, f"10:0{term}:00") for term in range(2, 5)]
    m2 = [election(M2, M1, term, f"10:0{term + 2}:00") for term in range(2, 5)]
    m2.append("2018-03-02 10:06:30.000000 N | pkg/osutil: received terminated signal, shutting down...")
    moments = diagnosed(m1=m1, m2=m2).timeline
    assert {moment.what for moment in moments if moment.source == "m2"} == {"leader", "stop", "terminated-by-signal"}
    assert [moment.time for moment in moments] == sorted(moment.time for moment in moments)
    assert len({round(moment.time) for moment in moments if moment.what == "leader"}) == 3


def test_what_was_over_before_its_cause_began_is_a_finding_of_its_own() -> None:
    """Slow requests in the morning are not the work of a disk that was full at night."""
    took = "W | etcdserver: apply entries took too long [2.6s for 1 entries]"
    slow = [f"2018-03-02 08:00:0{second}.000000 {took}" for second in range(4)]
    full = "2018-03-02 22:00:00.000000 C | etcdserver: create wal error: no space left on device"
    assert slugs(diagnose_lines([*slow, full])) == ["disk-full", "apply-slow"]
    assert slugs(diagnose_lines([full.replace("22:00", "07:59"), *slow])) == ["disk-full"]
