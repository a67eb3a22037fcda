"""The language of tests/node/raft/scripts: what happens to a group of members, and what they say.

A script is blocks of a command, maybe lines of input, `----`, and the output up to an empty line; `#` starts a comment.
Members are numbers. `ID..` means several; none means everybody.

    members 3 [voters=1,2] [learners=3] [index=10] [SETTING=VALUE ..]   make members whose logs end, compacted, at index
    show debug|info|warning|nothing      which notes are printed; `nothing` silences the rest of the output too
    campaign ID                          campaign now
    tick ID COUNT                        let time pass
    timeout ID TICKS                     set the randomized election timeout of the current role
    propose ID DATA                      propose an entry
    change ID [old] [implicit|explicit] [CHANGES]   propose v2 r3 l4 u5; nothing leaves a joint configuration
    read ID CONTEXT                      ask for a read index
    transfer ID to=ID                    make another one the leader
    forget ID                            forget the leader
    unreachable ID from=ID               report a lost message
    snapshot-sent ID from=ID ok|failed   report the fate of a snapshot
    send-snapshot ID to=ID               send a snapshot unasked
    compact ID INDEX                     drop the log up to INDEX
    restart ID [power-lost]              kill it and start it again from its disk
    ready ID..                           let them do what is to be done, once
    deliver ID.. [type=MsgApp]           hand over their messages
    drop ID.. [type=MsgApp]              lose their messages
    settle ID..                          both, until nothing is left to do
    step TYPE to=ID [from=ID] [FIELD=VALUE ..]   a message from nowhere
    progress ID / log ID / roles / state ID      what a leader knows, a log, everybody's role, a state machine
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.config import NO_LIMIT, RaftConfig
from etcdops.node.raft.describe import (
    MESSAGE_NAMES,
    ROLE_NAMES,
    describe_data,
    describe_entry,
    describe_message,
    describe_ready,
)
from etcdops.node.raft.errors import CoreCorrupt, ProposalDropped
from etcdops.node.raft.types import (
    ConfChangeTransition,
    ConfState,
    Entry,
    EntryType,
    Message,
    MessageType,
    NoteLevel,
    Role,
    Snapshot,
    SnapshotMetadata,
)
from tests.node.raft.conf_changes import change_of, decode, encode, show
from tests.node.raft.world import Member, World

LEVELS = {"debug": NoteLevel.DEBUG, "info": NoteLevel.INFO, "warning": NoteLevel.WARNING}
TYPES = {name: kind for kind, name in MESSAGE_NAMES.items()}
SILENT = 100
SCRIPT_CONFIG = RaftConfig(
    id=MemberID(1),
    election_timeout_ticks=3,
    heartbeat_ticks=1,
    size_max_bytes_per_message=NO_LIMIT,
    size_max_bytes_uncommitted=0,
    check_quorum=False,
    pre_vote=False,
    step_down_on_removal=False,
    debug_notes=True,
)


@dataclass
class Block:
    """One command of a script with its expected output, and the comments before it."""

    before: list[str]
    line: str
    expected: list[str]


def parse(text: str) -> tuple[list[Block], list[str]]:
    """The blocks of a script, and the lines after the last one."""
    blocks: list[Block] = []
    before: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line or line.startswith("#"):
            before.append(line)
            continue
        assert next(lines, None) == "----", f"no ---- after: {line}"
        expected: list[str] = []
        for output in lines:
            if not output:
                break
            expected.append(output)
        blocks.append(Block(before, line, expected))
        before = []
    return blocks, before


def render(blocks: list[Block], after: list[str]) -> str:
    """The inverse of `parse`."""
    parts: list[str] = []
    for block in blocks:
        parts += [*block.before, block.line, "----", *block.expected, ""]
    return "\n".join([*parts, *after]).rstrip("\n") + "\n"


def run(path: Path, play: Callable[[str], list[str]], *, rewrite: bool) -> list[str]:
    """Play the script, one command line after the other.

    Returns: what came out differently, one text for each block; with `rewrite` it is written down as well.
    """
    blocks, after = parse(path.read_text())
    wrong = []
    for block in blocks:
        actual = play(block.line)
        if actual != block.expected:
            wrong.append("\n".join([block.line, "---- expected", *block.expected, "---- now", *actual]))
            block.expected = actual
    if rewrite:
        path.write_text(render(blocks, after))
    return wrong


class Stage:
    """A world in which scripts play."""

    def __init__(self) -> None:
        self.world = World()
        self.level: int = NoteLevel.INFO
        self.lines: list[str] = []
        self.commands: dict[str, Callable[[list[str], dict[str, str]], None]] = {
            "members": self.members, "show": self.show, "campaign": self.campaign, "tick": self.tick,
            "timeout": self.timeout, "propose": self.propose, "change": self.change, "read": self.read,
            "transfer": self.transfer, "forget": self.forget, "unreachable": self.unreachable,
            "snapshot-sent": self.snapshot_sent, "send-snapshot": self.send_snapshot, "compact": self.compact,
            "restart": self.restart, "ready": self.ready, "deliver": self.deliver, "drop": self.drop,
            "settle": self.settle, "step": self.step, "progress": self.progress, "log": self.log,
            "roles": self.roles, "state": self.state,
        }  # fmt: skip

    def play(self, line: str) -> list[str]:
        """The output of one command."""
        self.lines = []
        name, *words = line.split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        arguments = [word for word in words if "=" not in word]
        try:
            self.commands[name](arguments, options)
        except (ProposalDropped, CoreCorrupt) as error:
            self.lines.append(f"{type(error).__name__}: {error}")
        for member in self.world.members.values():
            self.print_notes(member)
        return self.lines or ["ok"]

    def print(self, text: str, indent: str = "") -> None:
        """Print, unless everything is silent."""
        if self.level < SILENT:
            self.lines += [(indent + line).rstrip() for line in text.split("\n")]

    def print_notes(self, member: Member, indent: str = "") -> None:
        """Print what the core had to say."""
        for note in member.take_notes():
            if note.level >= self.level:
                self.print(f"{note.level.name} {note}", indent)

    def chosen(self, arguments: list[str]) -> list[Member]:
        """The members named, or all of them."""
        return [self.world.member(int(word)) for word in arguments] or list(self.world.members.values())

    def first(self, arguments: list[str]) -> Member:
        """The member named first."""
        return self.world.member(int(arguments[0]))

    def members(self, arguments: list[str], options: dict[str, str]) -> None:
        """Make members."""
        index = LogIndex(int(options.pop("index", "0")))
        conf_state = ConfState(_ids(options.pop("voters", "")), _ids(options.pop("learners", "")))
        data = options.pop("data", "").encode()
        snapshot = Snapshot(SnapshotMetadata(index, Term(1 if index else 0), conf_state), data)
        for _ in range(int(arguments[0])):
            member = MemberID(len(self.world.members) + 1)
            settings = {name: _setting(text) for name, text in options.items()}
            config = replace(SCRIPT_CONFIG, id=member, **settings)  # type: ignore[arg-type]  # the script names settings
            self.world.add(config, snapshot)

    def show(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Set what is printed."""
        self.level = LEVELS.get(arguments[0], SILENT)

    def campaign(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Campaign."""
        self.first(arguments).core.campaign()

    def tick(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Let time pass."""
        for _ in range(int(arguments[1])):
            self.first(arguments).core.tick()

    def timeout(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Set the election timeout that was drawn."""
        self.first(arguments).core._raft.randomized_election_timeout = int(arguments[1])

    def propose(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Propose an entry."""
        self.first(arguments).core.propose(arguments[1].encode())

    def change(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Propose a configuration change."""
        number, *words = arguments
        entry_type = EntryType.CONF_CHANGE if "old" in words else EntryType.CONF_CHANGE_V2
        transition = ConfChangeTransition.AUTO
        if "implicit" in words:
            transition = ConfChangeTransition.JOINT_IMPLICIT
        if "explicit" in words:
            transition = ConfChangeTransition.JOINT_EXPLICIT
        change = change_of(" ".join(word for word in words if word[1:].isdigit()), transition)
        self.world.core(int(number)).propose_conf_change(entry_type, encode(entry_type, change), change)

    def read(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Ask for a read index."""
        self.first(arguments).core.read_index(arguments[1].encode())

    def transfer(self, arguments: list[str], options: dict[str, str]) -> None:
        """Hand the lead on."""
        self.first(arguments).core.transfer_leader(MemberID(int(options["to"])))

    def forget(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Forget the leader."""
        self.first(arguments).core.forget_leader()

    def unreachable(self, arguments: list[str], options: dict[str, str]) -> None:
        """Report a lost message."""
        self.world.core(int(options["from"])).report_unreachable(MemberID(int(arguments[0])))

    def snapshot_sent(self, arguments: list[str], options: dict[str, str]) -> None:
        """Report the fate of a snapshot."""
        self.world.core(int(options["from"])).report_snapshot(MemberID(int(arguments[0])), arguments[1] == "ok")

    def send_snapshot(self, arguments: list[str], options: dict[str, str]) -> None:
        """Send a snapshot unasked."""
        sender = self.first(arguments)
        to = MemberID(int(options["to"]))
        message = Message(MessageType.SNAP, to, sender.id, sender.core.term, snapshot=sender.log.snapshot())
        self.world.network.append(message)
        self.print(describe_message(message, data_text))

    def compact(self, arguments: list[str], options: dict[str, str]) -> None:
        """Drop a part of the log."""
        self.first(arguments).compact(int(arguments[1]))
        self.log(arguments, options)

    def restart(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Kill and start a member."""
        self.first(arguments).restart(power_lost="power-lost" in arguments)

    def ready(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Let members work once."""
        for member in self.chosen(arguments):
            self.work(member)

    def work(self, member: Member) -> bool:
        """Let one member work once. Returns whether there was anything to do but to talk."""
        self.print_notes(member)
        ready = member.core.ready()
        if ready is None:
            return False
        self.print(f"> {member.id} is ready")
        self.print(describe_ready(ready, data_text), "  ")
        member.save(ready)
        member.apply(ready)
        self.print_notes(member, "  ")
        member.core.advance(ready)
        self.print_notes(member, "  ")
        self.world.network += (*ready.messages, *ready.messages_after_save)
        return True

    def deliver(self, arguments: list[str], options: dict[str, str]) -> None:
        """Hand over messages."""
        for member in self.chosen(arguments):
            self.receive(member, options.get("type", ""))

    def receive(self, member: Member, kind: str = "") -> bool:
        """Hand one member its messages. Returns whether it had any."""
        mail = self.world.take(lambda message: message.to == member.id and kind in ("", MESSAGE_NAMES[message.type]))
        if mail:
            self.print(f"> {member.id} receives")
        for message in mail:
            self.print(describe_message(message, data_text), "  ")
            member.core.step(message)
            self.print_notes(member, "  ")
        return bool(mail)

    def drop(self, arguments: list[str], options: dict[str, str]) -> None:
        """Lose messages."""
        ids = [MemberID(int(word)) for word in arguments]
        kind = options.get("type", "")
        for message in self.world.take(lambda message: message.to in ids and kind in ("", MESSAGE_NAMES[message.type])):
            self.print(f"lost: {describe_message(message, data_text)}")

    def settle(self, arguments: list[str], _options: dict[str, str]) -> None:
        """Work and deliver until nothing is left to do."""
        busy = True
        while busy:
            chosen = self.chosen(arguments)
            worked = [self.work(member) for member in chosen]
            received = [self.receive(member) for member in chosen]
            busy = any(worked) or any(received)

    def step(self, arguments: list[str], options: dict[str, str]) -> None:
        """Hand over a message that nobody sent."""
        to = int(options.pop("to"))
        fields: dict[str, object] = {"to": to, "from_": int(options.pop("from", "0"))}
        if "entries" in options:
            fields["entries"] = tuple(_entry(text) for text in options.pop("entries").split(",") if text)
        if "context" in options:
            fields["context"] = options.pop("context").encode()
        fields.update({name: _setting(text) for name, text in options.items()})
        message = Message(TYPES[arguments[0]])._replace(**fields)  # type: ignore[arg-type]  # the script names fields
        self.world.core(to).step(message)

    def progress(self, arguments: list[str], _options: dict[str, str]) -> None:
        """What a leader knows of the others."""
        core = self.first(arguments).core
        shown = core._raft.tracker.progress if core.role is Role.LEADER else {}
        for number, progress in shown.items():
            self.print(f"{number}: {progress}")

    def log(self, arguments: list[str], _options: dict[str, str]) -> None:
        """The log on disk."""
        log = self.first(arguments).log
        first, last = log.first_index(), log.last_index()
        if last < first:
            self.print(f"no entries after index {last}")
        else:
            for entry in log.entries(first, LogIndex(last + 1), size_max_bytes=NO_LIMIT):
                self.print(describe_entry(entry, data_text))

    def roles(self, _arguments: list[str], _options: dict[str, str]) -> None:
        """What everybody is."""
        for member in self.world.members.values():
            core = member.core
            state = core.conf_state
            kind = "voter" if member.id in (*state.voters, *state.voters_outgoing) else "no voter"
            self.print(f"{member.id}: {ROLE_NAMES[core.role]} ({kind}) term {core.term} leader {core.leader}")

    def state(self, arguments: list[str], _options: dict[str, str]) -> None:
        """The state machine, and where it is."""
        metadata, data = self.first(arguments).log.state
        self.print(f"{metadata.index}: {data.decode()}")


def data_text(entry: Entry) -> str:
    """The data of an entry, configuration changes in words."""
    if entry.type is EntryType.NORMAL:
        return describe_data(entry)
    change = decode(entry)
    return "damaged" if change is None else show(change)


def _ids(text: str) -> tuple[MemberID, ...]:
    return tuple(MemberID(int(word)) for word in text.split(",") if word)


def _setting(text: str) -> int | bool:
    return {"yes": True, "no": False}[text] if text in ("yes", "no") else int(text)


def _entry(text: str) -> Entry:
    term, _, index = text.partition("/")
    return Entry(Term(int(term)), LogIndex(int(index)), EntryType.NORMAL, b"")
