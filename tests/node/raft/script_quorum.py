"""The language of scripts/quorum: what one majority, or two at once, have agreed on.

    committed 1=100 2=101 3=_ [and 3=99 4=_]     the index that each voter has acknowledged, `_` for none
    vote 1=y 2=n 3=_ [and 4=y]                   votes

After `and` comes the outgoing majority; a voter of both is given its value once, and written `3=` the second time.
Every case is also put to the plain second implementation of quorum_oracle.py.
"""

from __future__ import annotations

from etcdops.ids import MemberID
from etcdops.node.raft.quorum import EVERYTHING, JointConfig
from tests.node.raft.quorum_oracle import committed_by_counting, vote_by_trying


def play_quorum(line: str) -> list[str]:
    """The output of one command."""
    command, *words = line.split()
    values: dict[MemberID, str] = {}
    halves: list[list[MemberID]] = [[]]
    for word in words:
        if word == "and":
            halves.append([])
            continue
        number, _, value = word.partition("=")
        halves[-1].append(MemberID(int(number)))
        values[MemberID(int(number))] = value or values[MemberID(int(number))]
    incoming, outgoing = (tuple(sorted(half)) for half in (*halves, [])[:2])
    configs = [JointConfig(incoming, outgoing)]
    if outgoing:
        configs.append(JointConfig(outgoing, incoming))
    else:
        configs.append(JointConfig(incoming, incoming))
    if command == "vote":
        votes = {voter: value == "y" for voter, value in values.items() if value != "_"}
        results = {config.vote_result(votes).value for config in configs}
        assert results == {vote_by_trying(configs[0], votes).value}
        return sorted(results)
    assert command == "committed", command
    acked = {voter: int(value) for voter, value in values.items() if value != "_"}
    indexes = {config.agreed_index(lambda voter: acked.get(voter, 0)) for config in configs}
    assert indexes == {committed_by_counting(configs[0], acked)}
    return ["everything" if index == EVERYTHING else str(index) for index in indexes]
