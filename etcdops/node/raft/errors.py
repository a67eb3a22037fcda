"""What the core raises. Everything else a peer may say to it, right or wrong, becomes a note."""

from __future__ import annotations


class ProposalDropped(Exception):
    """The proposal was not appended anywhere: no leader, a leader transfer, or too much that is not committed yet.

    Nothing of it will ever be in the log, so it may be proposed again.
    Source: etcd-io/raft raft.go, ErrProposalDropped.
    """


class ConfChangeRefused(Exception):
    """The configuration change does not fit the configuration it was applied to; nothing was changed.

    The same change is refused on every member, since all of them apply it to the same configuration.
    """


class CoreCorrupt(Exception):
    """This member's log contradicts itself or the cluster: entries that were saved, or agreed on, are gone.

    The member must stop; going on could lose what the cluster acknowledged.
    """
