"""Who must agree: majorities, and two majorities at once while the configuration changes."""

from etcdops.node.raft.quorum.joint import JointConfig
from etcdops.node.raft.quorum.majority import EVERYTHING, VoteResult, agreed_index, format_ids, vote_result

__all__ = ["EVERYTHING", "JointConfig", "VoteResult", "agreed_index", "format_ids", "vote_result"]
