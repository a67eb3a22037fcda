"""The same random life for a real etcd and a node: requests, watches, restarts and restores, drawn by hypothesis.

Everything that is said to one is said to the other, and every answer is compared word for word, but for what names a
server or depends on the time. Watches are compared when both have told everything: see `Pair.settle`.
"""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import grpc
from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential import requests_drawn as drawn
from tests.differential.checklist import Server
from tests.differential.conftest import start_server
from tests.differential.requests_drawn import LEARNER, SELF, Moment
from tests.differential.spoken import spoken, spoken_watch
from tests.differential.stateful_differences import VERSIONS
from tests.node.api.comparing import Target, WatchStream, events_by_watch, normalised
from tests.node.api.random_requests import Request
from tests.support.node_members import NODE
from tests.support.node_nursery import Nursery
from tests.support.real_etcd import RealMember

FLAGS = ("--heartbeat-interval=20", "--election-timeout=200")
"""A member alone is elected sooner; the least time to live of a lease does not matter here."""

SENTINEL = b"\xff\xff/sentinel"
"""A key that only `settle` writes; deleting everything deletes it too."""

_SENTINEL_WATCH = 1_000_000
_STREAMS_MAX = 3
_SETTLE_S = 15.0
_BIG = 700_000
"""Two such values in one revision, with the ones before them, are more than one message holds."""

COUNTED: Counter[str] = Counter()
"""What was compared in this process: kinds of requests, and everything else."""


class Side(NamedTuple):
    """One of the two."""

    server: Server
    target: Target
    ids: dict[int, int]
    """Member IDs of this server by the name they have in requests."""

    @property
    def member(self) -> RealMember:
        return self.server.cluster.members[0]


class Pair:
    """A real etcd and a node that have lived the same life."""

    def __init__(self, kind: str, nursery: Nursery | None = None) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="differential-"))
        self.script: list[str] = []
        self.revision = 1
        self.compacted = 0
        self.streams: list[tuple[WatchStream, WatchStream]] = []
        self._barriers = 0
        self._restores = 0
        self.sides: list[Side] = []
        try:
            for name in (kind, "node"):
                self.sides.append(self._side(start_server(name, self.folder / name, nursery=nursery, flags=FLAGS)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.close_streams()
        for side in self.sides:
            side.target.close()
            side.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _side(self, server: Server) -> Side:
        own = server.client.members().header.member_id
        return Side(server, Target(server.client.address), {SELF: own})

    @property
    def moment(self) -> Moment:
        return Moment(self.revision, self.compacted)

    # Requests.

    def ask(self, request: Request) -> str:
        """Ask both; they say the same. Returns: what they say."""
        path, message, _ = request
        self.script.append(spoken(path, message))
        COUNTED[path] += 1
        theirs, ours = (_asked(side, request) for side in self.sides)
        self.compare(path, theirs, ours)
        found = re.search(r"^  revision: (\d+)$", ours, re.MULTILINE)
        if found:
            self.revision = max(self.revision, int(found.group(1)))
        return ours

    def compare(self, what: str, theirs: str, ours: str) -> None:
        if theirs == ours:
            return
        for known in VERSIONS.get(self.kind, ()):
            if known.explains(what, theirs, ours):
                return
        lines = difflib.unified_diff(theirs.splitlines(), ours.splitlines(), self.kind, "node", lineterm="", n=8)
        raise AssertionError(self.told(f"{what}\n" + "\n".join(lines)))

    def told(self, complaint: str) -> str:
        """What went wrong, after the steps that lead to it."""
        steps = "\n".join(f"{number:3}. {step}" for number, step in enumerate(self.script, 1))
        return f"after\n{steps}\nthe answers differ: {complaint}"

    # Watches.

    def open_stream(self) -> None:
        self.script.append(f"# watch stream {len(self.streams)}")
        self.streams.append((self.sides[0].target.watch(), self.sides[1].target.watch()))

    def create(self, number: int, request: pb.WatchCreateRequest) -> None:
        self.script.append(f"{spoken_watch(request)}  # on stream {number}")
        COUNTED["watch"] += 1
        for stream in self.streams[number]:
            stream.create(request)

    def cancel(self, number: int, watch_id: int) -> None:
        """Returns when both have done it: what they are asked on one stream they do in order."""
        self.script.append(f"# cancel watch {watch_id} on stream {number}")
        self._barriers += 1
        barrier = _SENTINEL_WATCH + self._barriers
        for stream in self.streams[number]:
            stream.say(_cancel(watch_id))
            stream.create(pb.WatchCreateRequest(key=SENTINEL + b"/nobody", watch_id=barrier))
            stream.say(_cancel(barrier))
            stream.wait_canceled(barrier, _SETTLE_S)

    def close_streams(self) -> None:
        for pair in self.streams:
            for stream in pair:
                stream.close()
        self.streams.clear()

    def settle(self) -> None:
        """Wait until both have told all watchers everything; then they have told the same.

        A watcher that starts at a revision of now is behind, like every other that is, and is served after them: when
        its one event has come, nothing is on its way any more.
        """
        if not self.streams:
            return
        self.ask(_put(SENTINEL))
        self._barriers += 1
        barrier = _SENTINEL_WATCH + self._barriers
        create = pb.WatchCreateRequest(key=SENTINEL, start_revision=self.revision, watch_id=barrier)
        for pair in self.streams:
            for stream in pair:
                stream.create(create)
        for number, pair in enumerate(self.streams):
            for stream in pair:
                stream.wait_event(barrier, _SETTLE_S)
            self._compare_stream(number, pair)
            for stream in pair:
                stream.say(_cancel(barrier))
                stream.wait_canceled(barrier, _SETTLE_S)

    def _compare_stream(self, number: int, pair: tuple[WatchStream, WatchStream]) -> None:
        """They have equal events already, or do in a moment: several watchers may be served in any order."""
        ends = time.monotonic() + 2.0
        while True:
            theirs, ours = (_shown(stream) for stream in pair)
            if theirs == ours or time.monotonic() > ends:
                break
            time.sleep(0.01)
        COUNTED["events"] += ours.count("\n")
        self.compare(f"stream {number}", theirs, ours)

    # What happens to a server.

    def restart(self, *, kill: bool) -> None:
        self.script.append("kill -9 and start" if kill else "stop and start")
        self._leave()
        for side in self.sides:
            if kill:
                side.member.kill()
            else:
                side.member.stop()
        self._start()

    def restore(self) -> None:
        """Each from its own snapshot, by its own tool, into an empty directory."""
        self.script.append("etcdctl snapshot save; snapshot restore; start")
        COUNTED["restore"] += 1
        self._leave()
        self._restores += 1
        for side in self.sides:
            image = self.folder / f"{side.server.name}-{self._restores}.db"
            image.write_bytes(b"".join(part.blob for part in side.server.client.snapshot()))
            side.member.stop()
            side.member.data_dir.rename(side.member.data_dir.with_suffix(f".{self._restores}"))
            done = restore_image(side.member, image)
            assert done.returncode == 0, done.stdout + done.stderr
        self._start()

    def _leave(self) -> None:
        self.close_streams()
        for side in self.sides:
            side.target.close()

    def _start(self) -> None:
        for side in self.sides:
            side.member.start_nowait()
        for number, side in enumerate(self.sides):
            side.member.wait_ready()
            self.sides[number] = side._replace(target=Target(side.server.client.address))
        for side in self.sides:
            _wait_served(side)
            listed = side.server.client.members()
            side.ids[SELF] = listed.header.member_id
            for member in listed.members:
                if member.isLearner:
                    side.ids[LEARNER] = member.ID


def _put(key: bytes, value: bytes = b"") -> Request:
    return "/etcdserverpb.KV/Put", pb.PutRequest(key=key, value=value), pb.PutResponse


def _cancel(watch_id: int) -> pb.WatchRequest:
    return pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id))


def _wait_served(side: Side) -> None:
    """Until reads are answered again; the channel may still believe that nobody is there."""
    ends = time.monotonic() + 20
    while True:
        try:
            side.server.client.revision()
            return
        except grpc.RpcError:
            if time.monotonic() > ends:
                raise


def _asked(side: Side, request: Request) -> str:
    """An answer or refusal, with members by the names of requests."""
    path, message, answer_type = request
    sent = type(message).FromString(message.SerializeToString())
    for field in ("ID", "memberID", "targetID"):
        if path.startswith(("/etcdserverpb.Cluster/", "/etcdserverpb.Maintenance/")) and hasattr(sent, field):
            setattr(sent, field, side.ids.get(getattr(sent, field), getattr(sent, field)))
    answer = side.target.answer((path, sent, answer_type))
    if isinstance(answer, str):
        return answer
    if isinstance(answer, pb.MemberAddResponse):
        side.ids[LEARNER] = answer.member.ID
    return str(normalised(_named(side, answer)))


def _named(side: Side, answer: Message) -> Message:
    """Without what is this server's own: member IDs, ports, sizes, indexes."""
    names = {number: name for name, number in side.ids.items()}
    match answer:
        case pb.MemberListResponse() | pb.MemberAddResponse() | pb.MemberRemoveResponse() | pb.MemberUpdateResponse():
            listed = [*answer.members, *([answer.member] if isinstance(answer, pb.MemberAddResponse) else [])]
            for member in listed:
                member.ID = names.get(member.ID, member.ID)
                if member.ID == SELF:
                    del member.peerURLs[:], member.clientURLs[:]
            answer.members.sort(key=lambda member: member.ID)
        case pb.AlarmResponse():
            for alarm in answer.alarms:
                alarm.memberID = names.get(alarm.memberID, alarm.memberID)
            answer.alarms.sort(key=lambda alarm: (alarm.memberID, alarm.alarm))
        case pb.StatusResponse():
            own = str(side.ids[SELF])
            errors = sorted(error.replace(own, "SELF") for error in answer.errors)
            answer = pb.StatusResponse(
                errors=errors, isLearner=answer.isLearner, leader=int(answer.leader == side.ids[SELF])
            )
        case pb.LeaseLeasesResponse():
            answer.leases.sort(key=lambda lease: lease.ID)
        case _:
            pass
    return answer


def _shown(stream: WatchStream) -> str:
    """Every watcher with its events in order; what only `settle` watches is left out."""
    told = events_by_watch(stream.received())
    lines = []
    for watch_id, events in sorted(told.items()):
        if watch_id <= _SENTINEL_WATCH:
            lines += [f"watch {watch_id}", *(f"  {event.strip()}" for event in events)]
    return "\n".join(lines) + "\n"


def restore_image(member: RealMember, image: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the tool that belongs to the member: its data directory is made of the image. `more` options win."""
    binaries = member.binaries
    if binaries == NODE:
        tool = [sys.executable, "-m", "etcdops", "snapshot", "restore"]
    elif binaries.etcdutl is not None:
        tool = [str(binaries.etcdutl), "snapshot", "restore"]
    else:
        tool = [str(binaries.etcdctl), "snapshot", "restore"]
    options = [
        f"--data-dir={member.data_dir}", f"--name={member.name}", f"--initial-cluster={member.initial_cluster}",
        "--initial-cluster-token=etcd-cluster",
    ]  # fmt: skip
    if binaries != NODE:
        options.append(f"--initial-advertise-peer-urls={member.peer_url}")
    return subprocess.run(
        [*tool, str(image), *options, *more],
        env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Lives(RuleBasedStateMachine):
    """One example: a fresh pair, then whatever is drawn."""

    kind = ""
    """The etcd to live beside; set by the test."""

    nursery: Nursery | None = None
    """Where the node's processes come from."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(self.kind, self.nursery)
        self.alarmed = False
        self.alarms_raised = 0
        self.restarts = 0

    def teardown(self) -> None:
        try:
            if not self.alarmed:
                self.pair.settle()
        finally:
            self.pair.close()

    @initialize(ids=st.sets(st.sampled_from(drawn.LEASES), max_size=2), create=drawn.watches(Moment(1, 0)))
    def begin(self, ids: set[int], create: pb.WatchCreateRequest) -> None:
        """Some leases for keys to hang on, and somebody who watches."""
        for lease in sorted(ids):
            request = pb.LeaseGrantRequest(ID=lease, TTL=drawn.LONG_TTL_S)
            self.pair.ask(("/etcdserverpb.Lease/LeaseGrant", request, pb.LeaseGrantResponse))
        self.pair.open_stream()
        self.pair.create(0, create)

    @rule(data=st.data())
    def keys(self, data: st.DataObject) -> None:
        """Most of what happens."""
        for request in data.draw(st.lists(drawn.keys(self.pair.moment, full=self.alarmed), min_size=1, max_size=6)):
            self.pair.ask(request)

    @rule(data=st.data())
    def more_keys(self, data: st.DataObject) -> None:
        """The same again, so that it is drawn more often."""
        self.keys(data)

    @rule(data=st.data())
    def others(self, data: st.DataObject) -> None:
        """All that is neither about keys nor about watches."""
        kinds = st.one_of(drawn.leases(), drawn.hashes(self.pair.moment), drawn.members(), drawn.users())
        for request in data.draw(st.lists(kinds, min_size=1, max_size=4)):
            self.pair.ask(request)

    # One kind at a time: in etcd a second alarm takes the place of the first, in the node both hold.
    @precondition(lambda self: not self.alarmed and self.alarms_raised < 2)
    @rule(request=drawn.alarms())
    def alarms(self, request: Request) -> None:
        self.pair.ask(request)
        raised = self.pair.ask(("/etcdserverpb.Maintenance/Alarm", pb.AlarmRequest(), pb.AlarmResponse))
        self.alarmed = "alarms" in raised
        self.alarms_raised += self.alarmed

    @precondition(lambda self: self.alarmed)
    @rule()
    def disarm(self) -> None:
        """So that not everything after an alarm is refused."""
        for member in (0, 5, SELF):
            for kind in (pb.NOSPACE, pb.CORRUPT):
                request = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=member, alarm=kind)
                self.pair.ask(("/etcdserverpb.Maintenance/Alarm", request, pb.AlarmResponse))
        self.alarmed = False

    @precondition(lambda self: not self.alarmed)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        """What a compaction cancels depends on who has been told already: so first everybody is."""
        pair = self.pair
        pair.settle()
        pair.ask(_put(SENTINEL))  # a key's put: see the differences of 3.4
        revision = data.draw(st.sampled_from((pair.revision, pair.revision, pair.revision + 1, pair.compacted)))
        if self.kind != "etcd-3.4":
            revision = data.draw(st.sampled_from((revision, max(pair.revision - 3, 1))))
        request = pb.CompactionRequest(revision=revision or -1, physical=True)
        if "revision:" in pair.ask(("/etcdserverpb.KV/Compact", request, pb.CompactionResponse)):
            pair.compacted = max(pair.compacted, revision)

    @precondition(lambda self: not self.alarmed and len(self.pair.streams) < _STREAMS_MAX)
    @rule()
    def stream(self) -> None:
        self.pair.open_stream()

    @precondition(lambda self: not self.alarmed and bool(self.pair.streams))
    @rule(data=st.data())
    def watch(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.pair.streams) - 1))
        self.pair.create(number, data.draw(drawn.watches(self.pair.moment)))
        self.pair.settle()

    @precondition(lambda self: not self.alarmed and bool(self.pair.streams))
    @rule(data=st.data(), watch_id=st.sampled_from((0, 1, 2, 7, 8, -7, 404)))
    def cancel(self, data: st.DataObject, watch_id: int) -> None:
        self.pair.settle()
        self.pair.cancel(data.draw(st.integers(0, len(self.pair.streams) - 1)), watch_id)
        self.pair.settle()

    @precondition(lambda self: not self.alarmed and bool(self.pair.streams))
    @rule()
    def fragments(self) -> None:
        """Two revisions of two big values: the second, with the values before, is more than a message holds."""
        for letter in (b"p", b"q"):
            ops = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=letter * _BIG)) for key in (b"a", b"b")]
            script = self.pair.script
            self.pair.ask(("/etcdserverpb.KV/Txn", pb.TxnRequest(success=ops), pb.TxnResponse))
            script[-1] = f"etcdctl txn\n    then put 'a' '{letter.decode()}' * {_BIG}\n    then put 'b' the same"
        self.pair.settle()

    @precondition(lambda self: not self.alarmed)
    @rule()
    def settle(self) -> None:
        self.pair.settle()

    @precondition(lambda self: self.restarts < 1)
    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        self.restarts += 1
        if not self.alarmed:
            self.pair.settle()
        self.pair.restart(kill=kill)

    @precondition(lambda self: self.restarts < 1)
    @rule()
    def restore(self) -> None:
        self.restarts += 1
        if not self.alarmed:
            self.pair.settle()
        self.pair.restore()
