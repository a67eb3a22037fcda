"""The checklist: what "compatible with etcd" means, statement by statement, under the numbers used all over the tests.

E errors, Q quirks on the wire, X limits and transport, H response header, I identities, V revisions, R Range, P Put,
D DeleteRange, T Txn, C compaction and hashes, N quota and alarms, W Watch, L leases, A users and roles, M membership,
S maintenance, G HTTP, K durability and restarts.
"""

from __future__ import annotations

_ERRORS = """
E01 key is not provided
E02 key not found
E03 value is provided
E04 lease is provided
E05 too many operations in txn request
E06 duplicate key given in txn request
E07 invalid client api version
E08 invalid sort option
E09 given member URLs are invalid
E10 request is too large
E11 user name is empty
E12 role name is empty
E13 authentication failed, invalid user ID or password
E14 permission not given
E15 invalid auth management
E16 revision of auth store is old
E17 wrong downgrade target version format
E18 invalid downgrade target version
E19 mvcc: required revision has been compacted
E20 mvcc: required revision is a future revision
E21 too large lease TTL
E22 mvcc: database space exceeded
E23 too many requests
E24 requested lease not found
E25 member not found
E26 lease already exists
E27 member ID already exist
E28 Peer URLs already exists
E29 re-configuration failed due to not enough started members
E30 can only promote a learner member
E31 can only promote a learner member which is in sync with leader
E32 too many learner members in cluster
E33 cluster ID mismatch
E34 root user does not exist
E35 root user does not have root role
E36 user name already exists
E37 user name not found
E38 role name already exists
E39 role name not found
E40 role is not granted to the user
E41 permission is not granted to the role
E42 authentication is not enabled
E43 not leader
E44 bad leader transferee
E45 not capable
E46 rpc not supported for learner
E47 cluster version not found during downgrade
E48 cluster has a downgrade job in progress
E49 no inflight downgrade job
E50 permission denied
E51 invalid auth token
E52 no leader
E53 leader changed
E54 server stopped
E55 request timed out
E56 request timed out, possibly due to previous leader failure
E57 request timed out, possibly due to connection lost
E58 request timed out, waiting for the applied index took too long
E59 unhealthy cluster
E60 corrupt cluster
E61 watch canceled
E62 request canceled
E63 context deadline exceeded
"""

_BEHAVIOUR = """
Q01 E23 and E29 lose their code on the wire: Unknown with the same text
Q02 errors without a row keep their text and become Unknown
Q03 the client's own cancellation and deadline come as grpc words them, without prefix
Q04 refusals by authentication in Maintenance have the codes of the table
Q05 a message over the receive limit is refused by the transport

X01 a proposal of at most 1.5 MiB, counted with its envelope
X02 the transport takes 512 KiB more than that
X03 answers may be longer than 4 MiB
X04 128 operations in a transaction
X05 number of concurrent streams
X06 pings more often than every 5 s end the connection
X07 the token travels as `token` or `authorization`
X08 with hasleader a call without leader fails at once
X09 with hasleader a stream without leader ends
X10 a client version that is not UTF-8 is refused
X11 nothing is answered before the cluster version is known
X12 an unknown sort target is refused, and ends nobody
X13 unknown services and methods are Unimplemented
X14 proposals are refused while applying is 5,000 entries behind
X15 requests end after 5 s and two election timeouts
X16 what a timed-out proposal says about the reason
X17 what a learner answers
X18 2 GiB of quota by default
X19 how often snapshots are made and what the log keeps behind them
X20 bounds of heartbeat and election timeouts
X21 transactions nested deep are answered or refused, and the connection stays
X22 strings that are not UTF-8

H01 cluster and member of whoever answered
H02 that member's term
H03 the revision is the store's where nothing better is known
H04 a fresh store is at 1, the first write at 2
H05 a read of the past tells the present revision
H06 membership calls tell no revision
H07 Defragment and MoveLeader have no header
H08 Snapshot messages have no header
H09 Alarm has a header
H10 watch messages tell the store's revision, the compacted one tells 0
H11 inner answers of a transaction tell the revision only, nested ones nothing
H12 calls about users tell the revision and leave it
H13 granting leaves the revision, revoking raises it by one if keys go
H14 a renewal tells a revision from before it

I01 a first member's ID is a hash of its URLs and the token
I02 an added member's ID is hashed with the time
I03 the cluster's ID is a hash of its first members
I04 known IDs of three members
I05 IDs are printed in hexadecimal without zeros before
I06 the cluster's ID stays
I07 lease IDs the server chooses are positive

V01 each change raises the revision by one
V02 a transaction is one revision, with changes counted in it
V03 a deletion counts its keys in order
V04 creation revision and version of a key's generation
V05 one put per key and transaction
V06 the revision never falls
V07 a restart knows the revision, compacted or not
V08 compaction leaves the revision

R01 no key
R02 one key
R03 all keys from one on
R04 all keys
R05 an end before the key
R06 revision 0 and below is now
R07 a revision of the future
R08 a compacted revision
R09 the compacted revision itself
R10 a revision before the key
R11 a limit leaves the count
R12 a limit that is just enough
R13 no limit
R14 count only
R15 keys only
R16 keys only, sorted by value
R17 bounds on revisions leave the count
R18 the limit comes after bounds and order
R19 a target without an order
R20 the order of keys
R21 descending orders
R22 an unknown order
R23 an unknown target
R24 serializable reads are local
R25 linearizable reads on a follower
R26 a read whose leader changes
R27 a linearizable read without quorum times out
R28 a leader that slept does not answer from the past
R29 reads go on while the store is called corrupt
R30 keys and values are bytes
R31 ranges as a stream

P01 no key
P02 ignore_value with a value
P03 ignore_lease with a lease
P04 ignore_value of a missing key
P05 ignore_lease of a missing key
P06 ignore_value keeps the value
P07 ignore_lease keeps the lease
P08 an unknown lease
P09 no lease detaches
P10 another lease takes over
P11 an empty value
P12 the previous pair
P13 the previous pair needs the right to read
P14 without space
P15 while corrupt
P16 what was acknowledged survives
P17 which check comes first

D01 no key
D02 nothing there
D03 how many
D04 the previous pairs
D05 open ends
D06 a deleted key leaves its lease
D07 without space
D08 while corrupt
D09 the previous pairs need the right to read

T01 too many operations
T02 what nested transactions may have
T03 a comparison without key
T04 an operation without request
T05 inner requests are checked like plain ones
T06 nothing at all succeeds
T07 all comparisons must hold
T08 a missing key counts as 0
T09 a missing key has no value to compare
T10 comparisons over ranges
T11 an unknown result
T12 an unknown target
T13 the wrong member of the union
T14 operations see those before them
T15 inner reads of now are of the transaction's own view
T16 an inner read of the future
T17 an inner read of the compacted
T18 an inner put that fails, fails all
T19 a key twice
T20 a key in both branches
T21 nested delete and put of a key depend on their order
T22 deletions may overlap
T23 the revision in the header
T24 reads go through no log
T25 all serializable: local
T26 one linearizable: confirmed
T27 comparisons alone are linearizable here
T28 only the chosen branch is checked against the store
T29 the same result on every member
T30 what costs space is refused without space
T31 while corrupt
T32 rights on every part
T33 inner puts need the rights of plain ones

C01 what is compacted already
C02 the future
C03 zero, once
C04 the present
C05 physical: answered when it is done
C06 compaction needs root
C07 what is kept
C08 a deletion at the revision is kept
C09 an interrupted compaction goes on
C10 in batches
C11 automatic compaction
C12 how HashKV is made
C13 what it counts after a compaction
C14 revision 0 is now
C15 HashKV of the compacted
C16 HashKV of the future
C17 what HashKV answers
C18 hashes of compactions are kept
C19 how the leader compares them
C20 the check before serving
C21 the check once in a while
C22 how Hash is made
C23 HashKV is the same on all members
C24 the hash of a snapshot file

N01 what is measured against the quota
N02 what requests cost
N03 the file's size counts
N04 without space only growth is refused
N05 alarms are listed, by type
N06 raising nothing
N07 raising twice
N08 dropping what is not raised
N09 dropping
N10 alarms survive
N11 alarms in the status
N12 corrupt: what is refused
N13 an unknown action
N14 who may

W01 the first message
W02 numbers the server chooses
W03 numbers the client chooses
W04 a number twice
W05 an empty range
W06 no key
W07 an open end
W08 from now on
W09 from the past
W10 from before the compaction
W11 from the compacted revision
W12 from below zero
W13 from the future
W14 compacted while behind
W15 cancelled
W16 cancelling nothing
W17 asking nothing
W18 a revision is not divided
W19 in order, each once, none missing
W20 what a put tells
W21 what a deletion tells
W22 the previous pair
W23 the previous pair of a key written twice in a revision
W24 filters
W25 nothing is left of a message
W26 progress by itself
W27 progress asked for
W28 nothing comes from before a progress
W29 progress without watchers
W30 fragments
W31 no fragments
W32 created comes first
W33 a half-closed stream goes on
W34 a cancelled stream
W35 no leader
W36 no right
W37 an open range needs the right to it
W38 over a restart of a follower
W39 on a follower behind
W40 expired leases
W41 a compaction at a deletion
W42 many slow watchers
W43 rights that change

L01 the server chooses the ID
L02 the client chooses it
L03 an ID in use
L04 a TTL too long
L05 a TTL too short
L06 without space
L07 revoking nothing
L08 revoking
L09 time to live of nothing
L10 time to live
L11 its keys
L12 on a follower
L13 the list
L14 renewing nothing
L15 renewing
L16 renewing on a follower
L16b renewing where leadership is in doubt
L17 renewing what is just expiring
L18 renewing without a leader
L19 a new leader
L20 checkpoints
L21 only the leader, not too many at once
L22 a deposed leader expires nothing
L23 never early
L24 not late
L25 over a restart
L26 who may

A01 enabling without root
A02 enabling with a root of no role
A03 enabling twice
A04 disabling what is off
A05 disabling by others
A06 the revision of users and roles
A07 a user without name
A08 a user twice
A09 an empty password
A10 no password
A11 calls about unknown users
A12 deleting root
A13 a new password ends tokens
A14 granting an unknown role
A15 granting root
A16 granting twice
A17 taking away what was not granted
A18 taking root from root
A19 a role without name, or twice
A20 deleting an unknown role
A21 deleting the role root
A22 a deleted role leaves its users
A23 an unknown role
A24 a permission for an unknown role
A25 a permission for the same range
A26 revoking a permission that is not there
A27 revoking from an unknown role
A28 the order of permissions
A29 a permission without key
A30 a permission for an empty range
A31 no permission at all ends nobody
A32 authenticating while it is off
A33 wrong passwords and unknown users look alike
A34 no token
A35 an unknown token
A36 what simple tokens look like
A37 another member's token
A38 tokens end with the member
A39 signed tokens
A40 signed tokens of an old revision
A41 root may do everything
A42 a user may see itself
A43 others may not
A44 own roles
A45 permissions are joined
A46 to read and to write
A47 one key or open range
A48 what calls need
A49 rights are looked at twice
A50 putting with a lease
A51 the status
A52 what needs root
A53 what needs a user
A54 names from certificates
A55 not from the gateway's
A56 passwords are written nowhere
A57 the cost of hashing
A58 all members at the same entry
A59 survives
A60 tokens are written nowhere

M01 bad URLs
M02 schemes
M03 a URL in use
M04 added twice
M05 a second learner
M06 what adding answers
M07 too few started to add
M08 too few connected to add
M09 adding a learner while unhealthy
M10 removing nobody
M11 removing the last
M12 too few started to remove
M13 removing the active and the inactive
M14 removing a learner
M15 an ID never comes back
M16 the removed are told
M17 removing the leader
M18 updating nobody
M19 updating changes URLs only
M20 updating to another's URL
M21 updating to nonsense
M22 promoting nobody, and a voter
M23 promoting too early
M24 promoting on a follower
M25 promoting and the quorum
M26 a linearizable list
M27 what the list says
M28 one change at a time
M29 a learner does not count
M30 promoted while down
M31 survives
M32 joining with a wrong list
M33 joining with a wrong version
M34 names come with the start
M35 one truth about members

S01 what the status says
S02 what newer ones add
S03 applied is not before committed
S04 no leader in the status
S05 pieces of a snapshot and its checksum
S06 a snapshot's version
S07 a snapshot is of one moment
S08 a snapshot without quorum
S09 defragmenting keeps the content
S10 defragmenting keeps alarms
S11 moving the leadership of others
S12 moving it to nobody
S13 moving it to itself
S14 moving it
S15 hashes
S16 downgrades
S17 an unknown downgrade
S18 alarms

G01 /version
G02 /health
G03 /health when ill
G04 /livez and /readyz
G05 GET only
G06 /metrics
G07 paths of the gateway
G08 /v3beta
G09 JSON
G10 errors in JSON
G11 HTTP statuses
G12 streams in JSON
G13 a watch over HTTP
G14 websockets
G15 tokens
G16 other origins
G17 other hosts
G18 hashes in the gateway
G19 the peer port serves no clients
G20 an election without leader key
G21 locks
G22 /debug only when wanted
G23 the removed log page

K01 acknowledged is on disks
K02 index and data in one transaction
K03 nothing is applied twice
K04 strictly serializable
K05 also alone
K06 lost data does not rejoin
K07 snapshots in quick succession
K08 the removed stay away
K09 what exists needs no initial cluster
K10 a new cluster by force
K11 restored
K12 a snapshot's checksum
K13 rights of the directory
K14 one process per directory
K15 the cluster's version
K16 the storage's version
"""


def _read(text: str) -> dict[str, str]:
    """Number -> title."""
    return dict(line.split(" ", 1) for line in text.splitlines() if line)


ERROR_TEXTS = {number: f"etcdserver: {text}" for number, text in _read(_ERRORS).items()}
"""The words clients match on."""

STATEMENTS = _read(_ERRORS + _BEHAVIOUR)

_CODES = {
    "INVALID_ARGUMENT": range(1, 19),
    "OUT_OF_RANGE": range(19, 22),
    "RESOURCE_EXHAUSTED": [22],
    "UNKNOWN": [23, 29],
    "NOT_FOUND": [24, 25],
    "FAILED_PRECONDITION": [26, 27, 28, *range(30, 45), 48, 49],
    "UNAVAILABLE": [45, 46, 47, *range(52, 60)],
    "PERMISSION_DENIED": [50],
    "UNAUTHENTICATED": [51],
    "DATA_LOSS": [60],
    "CANCELLED": [61, 62],
    "DEADLINE_EXCEEDED": [63],
}
"""Codes as they arrive from servers up to 3.5."""

REFUSALS = {
    f"E{number:02}": f"{code}: {ERROR_TEXTS[f'E{number:02}']}" for code, numbers in _CODES.items() for number in numbers
}
"""Number -> `CODE: text` on the wire."""
