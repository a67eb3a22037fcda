"""Who handles which message: the whole algorithm as one table over roles and message types."""

from __future__ import annotations

from collections.abc import Mapping

from etcdops.node.raft import election, following, leadership, proposals, reads, replication
from etcdops.node.raft.state import Handler
from etcdops.node.raft.types import MessageType, Role

HANDLERS: Mapping[tuple[Role, MessageType], Handler] = {
    (Role.FOLLOWER, MessageType.HUP): election.handle_hup,
    (Role.FOLLOWER, MessageType.PROP): proposals.forward_proposal,
    (Role.FOLLOWER, MessageType.APP): following.handle_append,
    (Role.FOLLOWER, MessageType.VOTE): election.handle_vote_request,
    (Role.FOLLOWER, MessageType.SNAP): following.handle_snapshot,
    (Role.FOLLOWER, MessageType.HEARTBEAT): following.handle_heartbeat,
    (Role.FOLLOWER, MessageType.TRANSFER_LEADER): leadership.forward_transfer,
    (Role.FOLLOWER, MessageType.TIMEOUT_NOW): election.handle_timeout_now,
    (Role.FOLLOWER, MessageType.READ_INDEX): reads.forward_read_index,
    (Role.FOLLOWER, MessageType.READ_INDEX_RESP): reads.handle_read_index_response,
    (Role.FOLLOWER, MessageType.PRE_VOTE): election.handle_vote_request,
    (Role.FOLLOWER, MessageType.FORGET_LEADER): following.handle_forget_leader,
    (Role.PRE_CANDIDATE, MessageType.HUP): election.handle_hup,
    (Role.PRE_CANDIDATE, MessageType.PROP): proposals.drop_proposal,
    (Role.PRE_CANDIDATE, MessageType.APP): following.handle_append,
    (Role.PRE_CANDIDATE, MessageType.VOTE): election.handle_vote_request,
    (Role.PRE_CANDIDATE, MessageType.SNAP): following.handle_snapshot,
    (Role.PRE_CANDIDATE, MessageType.HEARTBEAT): following.handle_heartbeat,
    (Role.PRE_CANDIDATE, MessageType.PRE_VOTE): election.handle_vote_request,
    (Role.PRE_CANDIDATE, MessageType.PRE_VOTE_RESP): election.handle_vote_response,
    (Role.CANDIDATE, MessageType.HUP): election.handle_hup,
    (Role.CANDIDATE, MessageType.PROP): proposals.drop_proposal,
    (Role.CANDIDATE, MessageType.APP): following.handle_append,
    (Role.CANDIDATE, MessageType.VOTE): election.handle_vote_request,
    (Role.CANDIDATE, MessageType.VOTE_RESP): election.handle_vote_response,
    (Role.CANDIDATE, MessageType.SNAP): following.handle_snapshot,
    (Role.CANDIDATE, MessageType.HEARTBEAT): following.handle_heartbeat,
    (Role.CANDIDATE, MessageType.PRE_VOTE): election.handle_vote_request,
    (Role.LEADER, MessageType.PROP): proposals.handle_proposal,
    (Role.LEADER, MessageType.APP_RESP): replication.handle_append_response,
    (Role.LEADER, MessageType.VOTE): election.handle_vote_request,
    (Role.LEADER, MessageType.HEARTBEAT_RESP): replication.handle_heartbeat_response,
    (Role.LEADER, MessageType.UNREACHABLE): replication.handle_unreachable,
    (Role.LEADER, MessageType.SNAP_STATUS): replication.handle_snapshot_status,
    (Role.LEADER, MessageType.TRANSFER_LEADER): leadership.handle_transfer,
    (Role.LEADER, MessageType.READ_INDEX): reads.handle_read_index,
    (Role.LEADER, MessageType.PRE_VOTE): election.handle_vote_request,
}
"""{(role, message type): function}. The term of the message was looked at before: it is ours, or 0, or a pre-vote's."""

_TICK = "the tick does it without a message"
_LATE_ACK = "an answer to a leader, which this member is no more"
_LATE_VOTE = "an answer to an election that is over"
_NO_LEADER = "nobody leads while an election is held; the asker asks again"
_LEADS = "only a leader keeps track of others"
_TWO_LEADERS = "a term has one leader, and it does not talk to itself"

IGNORED: Mapping[tuple[Role, MessageType], str] = {
    **{(role, kind): _TICK for role in Role for kind in (MessageType.BEAT, MessageType.CHECK_QUORUM)},
    **{
        (role, kind): _LATE_ACK
        for role in (Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE)
        for kind in (MessageType.APP_RESP, MessageType.HEARTBEAT_RESP)
    },
    **{
        (role, kind): _LEADS
        for role in (Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE)
        for kind in (MessageType.UNREACHABLE, MessageType.SNAP_STATUS)
    },
    **{
        (role, kind): _NO_LEADER
        for role in (Role.PRE_CANDIDATE, Role.CANDIDATE)
        for kind in (
            MessageType.TRANSFER_LEADER,
            MessageType.READ_INDEX,
            MessageType.READ_INDEX_RESP,
            MessageType.FORGET_LEADER,
        )
    },
    (Role.PRE_CANDIDATE, MessageType.TIMEOUT_NOW): "it is campaigning already",
    (Role.CANDIDATE, MessageType.TIMEOUT_NOW): "it is campaigning already",
    **{(role, MessageType.VOTE_RESP): _LATE_VOTE for role in (Role.FOLLOWER, Role.PRE_CANDIDATE, Role.LEADER)},
    **{(role, MessageType.PRE_VOTE_RESP): _LATE_VOTE for role in (Role.FOLLOWER, Role.CANDIDATE, Role.LEADER)},
    (Role.LEADER, MessageType.HUP): "it leads already",
    (Role.LEADER, MessageType.APP): _TWO_LEADERS,
    (Role.LEADER, MessageType.SNAP): _TWO_LEADERS,
    (Role.LEADER, MessageType.HEARTBEAT): _TWO_LEADERS,
    (Role.LEADER, MessageType.TIMEOUT_NOW): "it leads already",
    (Role.LEADER, MessageType.READ_INDEX_RESP): "an answer to a question it asked as a follower; it is asked again",
    (Role.LEADER, MessageType.FORGET_LEADER): "a leader does not forget itself",
}
"""{(role, message type): why nothing happens}."""

BY_ROLE: Mapping[Role, Mapping[MessageType, Handler]] = {
    role: {kind: handler for (owner, kind), handler in HANDLERS.items() if owner is role} for role in Role
}
"""HANDLERS, for looking up by role once and by type often."""
