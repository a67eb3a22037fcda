"""Quorums against a second implementation that tries everything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from etcdops.ids import MemberID
from etcdops.node.raft.quorum import JointConfig
from tests.node.raft.quorum_oracle import committed_by_counting, vote_by_trying

MEMBERS = st.sets(st.integers(1, 9).map(MemberID), max_size=6).map(lambda members: tuple(sorted(members)))
CONFIGS = st.builds(JointConfig, MEMBERS, MEMBERS)


@settings(max_examples=60)
@given(config=CONFIGS, acked=st.dictionaries(st.integers(1, 9).map(MemberID), st.integers(0, 5)))
def test_what_is_committed_is_what_counting_finds(config: JointConfig, acked: dict[MemberID, int]) -> None:
    """Source: etcd-io/raft quorum/quick_test.go."""
    found = config.agreed_index(lambda voter: acked.get(voter, 0))
    # Values of strangers do not count: the counting gets only those of voters.
    assert found == committed_by_counting(config, {voter: acked.get(voter, 0) for voter in config.ids()})


@settings(max_examples=60)
@given(config=CONFIGS, votes=st.dictionaries(st.integers(1, 9).map(MemberID), st.booleans()))
def test_an_election_stands_where_trying_all_outcomes_says(config: JointConfig, votes: dict[MemberID, bool]) -> None:
    """Won or lost only when no missing vote can change it."""
    assert config.vote_result(votes) is vote_by_trying(config, votes)


def test_a_joint_configuration_prints_both_halves_in_hex() -> None:
    """Source: etcd-io/raft quorum/joint.go, JointConfig.String."""
    config = JointConfig((MemberID(1), MemberID(0x8E9E05C52164694D)), (MemberID(2),))
    assert str(config) == "(1 8e9e05c52164694d)&&(2)"
    assert str(JointConfig()) == "()"
