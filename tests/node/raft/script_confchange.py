"""The language of scripts/confchange: changes of a configuration, without members that talk.

    simple [v1 r2 l3 u4 ..]            at most one voter
    enter-joint [auto-leave] [..]      any number
    leave-joint

Each command makes the log one entry longer, so `next` tells when a member was added.
"""

from __future__ import annotations

from etcdops.ids import LogIndex
from etcdops.node.raft.confchange import Changer
from etcdops.node.raft.errors import ConfChangeRefused
from etcdops.node.raft.tracker import ProgressTracker
from tests.node.raft.conf_changes import change_of


class Changes:
    """A configuration on its way."""

    def __init__(self) -> None:
        self.tracker = ProgressTracker(10, 0)
        self.last_index = 0

    def play(self, line: str) -> list[str]:
        """The output of one command."""
        command, *words = line.split()
        changer = Changer(self.tracker, LogIndex(self.last_index))
        changes = change_of(" ".join(word for word in words if word != "auto-leave")).changes
        self.last_index += 1
        try:
            if command == "simple":
                changed = changer.simple(changes)
            elif command == "enter-joint":
                changed = changer.enter_joint("auto-leave" in words, changes)
            else:
                assert command == "leave-joint", command
                changed = changer.leave_joint()
        except ConfChangeRefused as error:
            return [f"refused: {error}"]
        self.tracker.switch(*changed)
        return [
            str(self.tracker.config),
            *[f"{member}: {progress}" for member, progress in self.tracker.progress.items()],
        ]
