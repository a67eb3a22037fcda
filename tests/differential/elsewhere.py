"""Statements that these tests do not execute: where they are tested, or why they are not.

A test looks at the paths, and that nothing is listed that is executed.
"""

from __future__ import annotations

_USERS = "users and roles on the node: not there yet"
_GATEWAY = "the node has no JSON gateway"


def _for(reason: str, numbers: str) -> dict[str, str]:
    return dict.fromkeys(numbers.split(), reason)


ELSEWHERE: dict[str, str] = {
    **_for(_USERS, "E13 E15 E16 E35 E36 E38 E40 E41 E50 E51 Q04 P13 D09 T32 T33 C06 N14 W36 W37 W43 L26"),
    **_for(_USERS, "A02 A03 A05 A08 A09 A10 A12 A13 A14 A15 A16 A17 A18 A21 A22 A25 A26 A28 A29 A30 A33 A34 A35"),
    **_for(_USERS, "A36 A37 A38 A39 A40 A41 A42 A43 A44 A45 A46 A47 A48 A49 A50 A51 A53 A54 A55 A56 A57 A58 A59 A60"),
    **_for(_GATEWAY, "G07 G08 G09 G10 G11 G12 G13 G14 G15 G18"),
    # Errors that need a fault, or that no request brings about at will.
    "E07": "3.6 and newer; the bytes cannot be sent with grpcio: tests/node/rpc/test_server_connection.py",
    "E23": "needs an applier that is 5,000 entries behind; its words: tests/node/api/test_errors.py",
    "E33": "said by members and tools, not to clients: tests/node/peer/test_identity.py",
    "E45": "needs a member before its first election: tests/node/api/test_kv.py",
    "E47": "needs a cluster without a version: tests/node/api/test_maintenance.py",
    "E53": "needs an election in the middle of a read: tests/node/server/test_proposals.py",
    "E54": "needs a call in the middle of a stop: tests/node/server/test_proposals.py",
    "E56": "depends on when the leader was lost: tests/node/server/test_timeouts.py",
    "E57": "depends on when the link was lost: tests/node/server/test_timeouts.py",
    "E58": "needs an applier that stands still: tests/node/server/test_reads.py",
    "E59": "needs members that lost each other just now: tests/node/member/test_reconfig.py",
    "E61": "told to a client that has gone: tests/node/api/test_watch.py",
    "E62": "told to a client that has gone: tests/node/api/test_errors.py",
    "E63": "the client's own deadline comes first; the words: tests/node/api/test_errors.py",
    "Q03": "needs to see the frames that end a call: tests/node/rpc/test_server_connection.py",
    "Q02": "the words: tests/node/api/test_errors.py",
    # Transport and settings.
    "X05": "no answer shows it; the node announces 10,000 and etcd any number: etcdops/node/rpc/limits.py",
    "X06": "needs a client that pings too often: tests/node/rpc/test_server_connection.py",
    "X10": "grpcio does not send such bytes: tests/node/rpc/test_server_connection.py",
    "X11": "needs a member before its first election: tests/node/api/test_kv.py",
    "X14": "needs an applier that is 5,000 entries behind, which real servers never are here",
    "X16": "tests/node/server/test_timeouts.py",
    "X19": "tests/node/server/test_images.py",
    "X20": "refused at the start: tests/node/test_config.py",
    "X22": "depends on each runtime's protobuf: tests/node/api/test_kv.py and tests/node/api/test_watch.py",
    "G16": "other origins are for browsers, which need the gateway: the node has none",
    "G17": "the node takes every host, as etcd does unless told otherwise",
    "G21": "the node has no lock service: clients lock by themselves, with leases and transactions",
    # Faults and time.
    "R26": "needs an election in the middle of a read: tests/node/server/test_reads.py",
    "R28": "needs a leader that is stopped and goes on: tests/node/test_durability.py",
    "T29": "the same on every member: tests/node/apply/test_applier.py",
    "C09": "needs a kill in the middle of a compaction: tests/node/apply/test_compactor.py",
    "C11": "needs hours: tests/node/server/test_auto_compaction.py",
    "C19": "the node answers these questions (tests/node/api/test_maintenance.py) and does not ask them yet",
    "C20": "the node does not check before it serves: not there yet",
    "C21": "the node answers these questions (tests/node/api/test_maintenance.py) and does not ask them yet",
    "C24": "tests/snapshot/test_etcd_tools.py",
    "W39": "what a client may not assume: a follower that is behind has nothing to show for it",
    "L16b": "needs a leader cut off: tests/node/api/test_lease.py",
    "L19": "needs an election and leases by the hundred: tests/node/lease/test_lessor.py",
    "L20": "needs minutes and an election: tests/node/lease/test_lessor.py",
    "L21": "needs leases by the thousand: tests/node/lease/test_lessor.py",
    "L22": "needs a leader cut off: tests/node/lease/test_lessor.py",
    "E27": "within one second only, else E28 comes first: tests/node/api/test_cluster.py",
    "M08": "needs members that lost each other just now: tests/node/member/test_reconfig.py",
    "M09": "needs members that lost each other just now: tests/node/member/test_reconfig.py",
    "M12": "tests/node/member/test_reconfig.py",
    "M13": "tests/node/member/test_reconfig.py",
    "M16": "tests/node/peer/test_peer_port.py",
    "M17": "tests/node/test_member_process.py",
    "M25": "tests/node/member/test_reconfig.py",
    "M28": "needs two changes at the same moment: tests/node/server/test_driver.py",
    "M30": "needs a learner that is down when it is promoted: not there yet",
    "M32": "refused at the start: tests/node/server/test_starting.py",
    "M33": "tests/node/peer/test_identity.py",
    "M35": "about etcd's two stores of members; the node has one",
    "A52": "who may, once there are users: tests/node/api/test_rights.py",
    "K04": "needs histories under faults: tests/node/test_durability.py",
    "K06": "tests/node/test_power_loss.py",
    "K07": "tests/node/storage/test_state.py",
    "K08": "tests/node/test_member_process.py",
    "K10": "tests/node/test_member_process.py",
    "K11": "tests/playbooks/test_recover.py",
    "K12": "tests/snapshot/test_etcd_tools.py",
    "K14": "etcd waits, the node says so at once: tests/node/test_member_process.py",
    "K16": "3.6 and newer; the node's storage has no version of etcd's",
}
