"""Statements that these tests do not execute: which test proves them on the node, or that it does not fulfil them.

Every statement of the checklist is executed on etcd 3.4, 3.5 and the node, or is here. A test looks at the names, and
that nothing is listed that is executed.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Verdict(enum.Enum):
    """What is true of the node."""

    PROVED = "proved by tests of the node alone"
    NOT_FULFILLED = "not fulfilled"
    NOT_OURS = "says nothing about a node"


class Elsewhere(NamedTuple):
    verdict: Verdict
    reason: str
    """Why it is not executed here, or what the node does instead."""
    tests: tuple[str, ...] = ()
    """`file::test` that prove it."""


def _for(found: Elsewhere, numbers: str) -> dict[str, Elsewhere]:
    return dict.fromkeys(numbers.split(), found)


def _proved(reason: str, *tests: str) -> Elsewhere:
    return Elsewhere(Verdict.PROVED, reason, tests)


def _unfulfilled(reason: str, *tests: str) -> Elsewhere:
    return Elsewhere(Verdict.NOT_FULFILLED, reason, tests)


def _not_ours(reason: str) -> Elsewhere:
    return Elsewhere(Verdict.NOT_OURS, reason)


_API, _SERVER, _LEASE = "tests/node/api", "tests/node/server", "tests/node/lease/test_lessor.py"
_GONE = "told to a client that has gone: nobody can observe it"
_WORDS = f"{_API}/test_errors.py::test_every_text_and_code_is_etcds"
_USERS = _unfulfilled("there are no users and roles: authentication cannot be enabled")
_GATEWAY = _unfulfilled("there is no JSON gateway")

ELSEWHERE: dict[str, Elsewhere] = {
    # Users and roles.
    **_for(_USERS, "E13 E15 E16 E35 E36 E38 E40 E41 E50 E51 Q04 P13 D09 T32 T33 C06 N14 W36 W37 W43 L26"),
    **_for(_USERS, "A02 A03 A05 A08 A09 A10 A12 A13 A14 A15 A16 A17 A18 A21 A22 A25 A26 A28 A29 A30 A33 A34 A35"),
    **_for(_USERS, "A36 A37 A38 A39 A40 A41 A42 A43 A44 A45 A46 A47 A48 A49 A50 A51 A53 A54 A55 A56 A57 A58 A59 A60"),
    "A52": _unfulfilled(
        "who may call what is written down, and nobody is asked yet",
        f"{_API}/test_rights.py::test_calls_that_change_a_cluster_need_root",
    ),
    # The gateway.
    **_for(_GATEWAY, "G07 G08 G09 G10 G11 G12 G13 G14 G15 G18"),
    # Corruption checks.
    "C19": _unfulfilled(
        "the node answers such questions of others and asks none",
        f"{_API}/test_maintenance.py::test_other_members_ask_for_hashes",
    ),
    "C20": _unfulfilled("it compares nothing before it serves"),
    "C21": _unfulfilled(
        "the node answers such questions of others and asks none",
        f"{_API}/test_maintenance.py::test_other_members_ask_for_hashes",
    ),
    # Joining.
    "M33": _unfulfilled(
        "a joining member asks no versions before it starts; the others refuse its streams",
        "tests/node/peer/test_identity.py::test_others_are_told_why_not",
        "tests/node/peer/test_transport.py::test_a_version_from_before_our_cluster_is_refused",
    ),
    # Errors that need a fault, or that no request brings about at will.
    "E23": _proved(
        "needs an applier that is 5,000 entries behind",
        f"{_SERVER}/test_server.py::test_proposals_are_refused_while_applying_is_far_behind",
        _WORDS,
    ),
    "X14": _proved(
        "needs an applier that is 5,000 entries behind",
        f"{_SERVER}/test_server.py::test_proposals_are_refused_while_applying_is_far_behind",
    ),
    "E33": _proved(
        "said between members and by tools, never to clients",
        "tests/node/peer/test_identity.py::test_others_are_told_why_not",
    ),
    "E45": _proved(
        "etcd serves clients only after its first election; a cluster version of the future brings it about too",
        f"{_API}/test_kv.py::test_a_cluster_version_of_the_future_is_not_served",
    ),
    "X11": _proved(
        "etcd serves clients only after its first election; a cluster version of the future brings it about too",
        f"{_API}/test_kv.py::test_a_cluster_version_of_the_future_is_not_served",
    ),
    "E47": _proved("needs a cluster without a version", f"{_API}/test_maintenance.py::test_downgrades"),
    "E54": _proved(
        "needs a call in the middle of a stop, before the connection ends",
        f"{_SERVER}/test_proposals.py::test_stopping_answers_everybody",
        f"{_SERVER}/test_reads.py::test_stopping_answers_everybody_once",
    ),
    "E57": _proved(
        "depends on when a link was lost, which stopping a process does not show to the others",
        f"{_SERVER}/test_timeouts.py::test_a_leader_without_a_quorum_since_the_request_began_blames_the_connection",
        f"{_SERVER}/test_timeouts.py::test_a_follower_blames_the_connection_only_if_the_link_to_the_leader_was_cut",
    ),
    "E58": _proved(
        "needs an applier that stands still",
        f"{_SERVER}/test_reads.py::test_reads_without_a_quorum_time_out_at_every_stage",
    ),
    "E61": _proved(_GONE, _WORDS),
    "E62": _proved(_GONE, _WORDS),
    "E63": _proved("the words without the prefix come first: Q03", _WORDS),
    # Time, and numbers that take long.
    "X19": _proved(
        "what is kept of the log only followers far behind can tell",
        f"{_SERVER}/test_images.py::test_the_log_is_cut_only_behind_a_checkpoint",
        f"{_SERVER}/test_images.py::test_entries_that_followers_may_still_need_stay",
        f"{_SERVER}/test_driver.py::test_a_member_behind_the_cut_log_becomes_the_leaders_image",
    ),
    "T29": _proved(
        "needs members whose compactions run at different paces",
        "tests/node/apply/test_applier.py::test_the_same_log_gives_the_same_state",
    ),
    "C11": _proved(
        "takes hours",
        f"{_SERVER}/test_auto_compaction.py::test_periodic_compaction_waits_one_period_and_then_keeps_exactly_one",
        f"{_SERVER}/test_auto_compaction.py::test_periodic_compaction_of_a_long_period_runs_hourly",
        f"{_SERVER}/test_auto_compaction.py::test_a_follower_samples_but_never_compacts",
        f"{_SERVER}/test_auto_compaction.py::test_a_failed_periodic_compaction_is_due_again_at_the_next_sample",
    ),
    "C24": _proved(
        "about files, not servers",
        "tests/snapshot/test_real_etcd.py::test_a_real_snapshot_is_reported_as_etcds_own_tool_reports_it",
        "tests/snapshot/test_node_snapshot.py::test_a_nodes_snapshot_written_as_etcds_has_the_same_hash",
    ),
    "L16b": _proved(
        "the leader must still believe that it leads: real ones step down within an election timeout",
        f"{_API}/test_lease.py::test_a_leader_that_cannot_confirm_it_renews_nothing",
    ),
    "L19": _proved(
        "needs an election and leases by the hundred",
        f"{_LEASE}::test_many_leases_are_spread_after_a_leader_change",
    ),
    "L20": _proved(
        "needs minutes and an election",
        f"{_LEASE}::test_long_leases_are_checkpointed",
        f"{_API}/test_lease.py::test_a_checkpoint_is_what_a_new_leader_starts_from",
    ),
    "L21": _proved(
        "needs leases by the thousand",
        f"{_LEASE}::test_the_number_of_revocations_is_limited",
        f"{_API}/test_lease.py::test_a_lease_ends_when_nobody_renews_it",
    ),
    "L22": _proved(
        "the leader must still believe that it leads",
        f"{_LEASE}::test_only_a_primary_ends_and_renews",
        f"{_API}/test_lease.py::test_a_deposed_leader_revokes_nothing",
    ),
    "M25": _proved(
        "needs members that are added and never started", "tests/node/member/test_reconfig.py::test_promoting"
    ),
    "M28": _proved(
        "needs two changes in flight",
        "tests/node/apply/test_applier.py::test_configuration_changes_are_applied_once_and_refused_alike",
        f"{_SERVER}/test_driver.py::test_a_change_that_everybody_refuses_does_not_block_the_next_one",
    ),
    "K04": _proved(
        "needs histories of many clients under faults, and a checker; etcd passes the same",
        "tests/robustness/test_real.py::test_kills_and_pauses_break_no_promise",
        "tests/robustness/test_real.py::test_partitions_break_no_promise",
    ),
    "K07": _proved(
        "needs a follower that is sent images while it takes one",
        "tests/node/storage/test_state.py::test_defragmentation_while_a_snapshot_is_read_harms_neither",
        f"{_SERVER}/test_images.py::test_received_images_that_came_too_late_go_with_the_next_cut",
        f"{_SERVER}/test_driver.py::test_nothing_is_applied_or_answered_while_an_image_is_being_installed",
    ),
    # About etcd, or about clients.
    "W39": _not_ours("what a client may not assume: a follower that is behind has nothing to show for it"),
    "M35": _not_ours("about etcd's two stores of members; the node has one"),
    "K16": _not_ours("3.6 and newer; the node says it is a 3.5, and its storage has no version of etcd's"),
}
