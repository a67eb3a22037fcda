"""Random runs of a group keep the promises of Raft, whatever fails."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdops.ids import Term
from etcdops.node.raft.types import Role
from tests.node.raft.chaos import Broken, Chaos
from tests.node.raft.lone import entries, entry

SEEDS = st.integers(0, 2**32)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=SEEDS, pre_vote=st.booleans(), check_quorum=st.booleans(), changes=st.booleans())
def test_random_runs_keep_all_promises(seed: int, pre_vote: bool, check_quorum: bool, changes: bool) -> None:
    """Raft figure 3, thesis 4; messages are lost, doubled and reordered, members killed, the configuration changed."""
    chaos = Chaos(seed, pre_vote=pre_vote, check_quorum=check_quorum, changes=changes)
    chaos.run(1500)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=SEEDS, check_quorum=st.booleans())
def test_a_group_without_faults_comes_to_an_agreement_again(seed: int, check_quorum: bool) -> None:
    """Raft 5.4, thesis 3.9: with pre-vote, a working majority elects a leader and commits."""
    chaos = Chaos(seed, check_quorum=check_quorum, changes=False)
    chaos.run(400)
    chaos.recover()


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_equal_seeds_give_equal_runs(seed: int) -> None:
    """Nothing in the core decides by chance, by the clock, or by the order of a set."""

    def trace() -> list[object]:
        chaos = Chaos(seed)
        chaos.run(150)
        return [
            *chaos.world.network,
            *[(member.core.status(), member.log.state) for member in chaos.world.members.values()],
        ]

    assert trace() == trace()


def test_runs_reach_what_they_are_for() -> None:
    """A random run that elects nobody and commits nothing would prove nothing."""
    chaos = Chaos(7)
    chaos.run(3000)
    assert len(chaos.promises.leaders) >= 3
    assert len(chaos.promises.committed) >= 20
    assert any(state.first_index() > 2 for state in (member.log for member in chaos.world.members.values()))


def test_a_broken_promise_is_noticed() -> None:
    """Two leaders in a term, two entries in a place, a leader without what was committed: each would fail a run."""
    chaos = Chaos(1)
    promises = chaos.promises
    promises.see_committed(entries(1, first=2))
    with pytest.raises(Broken, match="committed at index 2"):
        promises.see_committed([entry(2, 2)])
    promises.see_appended(entries(1, 1), None)
    with pytest.raises(Broken, match="two entries"):
        promises.see_appended([entry(1, 2, b"another")], None)
    with pytest.raises(Broken, match="differ before"):
        promises.see_appended([entry(1, 2)], 0)
    promises.committed_in[2] = 1
    member = chaos.world.member(1)
    member.core._raft.term = Term(2)
    member.core._raft.role = Role.LEADER
    with pytest.raises(Broken, match="lacks committed entry 2"):
        promises.see_leader(member)
    promises.leaders[2] = member.id
    other = chaos.world.member(2)
    other.core._raft.term = Term(2)
    with pytest.raises(Broken, match="two leaders"):
        promises.see_leader(other)
    member.core._raft.log.unstable.truncate_and_append(entries(1, first=2))
    with pytest.raises(Broken, match="on the disks of"):
        chaos.see_on_disks(member, 2, member.core.conf_state)
