"""Every command of etcdctl with its options, in an order in which they build on each other."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb


class Command(NamedTuple):
    """One call of etcdctl."""

    arguments: tuple[str, ...]
    given: str = ""
    """Its standard input."""

    lines: int = 0
    """It goes on for ever: it is interrupted when it has printed as many lines."""

    while_running: tuple[tuple[str, ...], ...] = ()
    """Commands run once it has printed its first line, or is known to wait."""

    answer: type[Message] | None = None
    """What `-w protobuf` prints."""

    since: str = "3.4"


def say(line: str, given: str = "", **options: object) -> Command:
    """A command line; a word in which there are blanks is written with `~` for them, an empty one as `''`."""
    words = tuple("" if word == "''" else word.replace("~", " ") for word in line.split())
    return Command(words, given, **options)  # type: ignore[arg-type]  # Command's own fields


TXN = 'value("a") = "1"\n\nput a 2\nget a\n\nput a 3\n\n'
TXN_OTHERS = (
    'create("a") > "0"\nmod("a") > "1"\nversion("a") < "9"\nlease("a") = "0"\n\n'
    "get a b\ndel zz\nput t 1 --prev-kv\nget t --keys-only\n\nget a\n\n"
)
WAYS = ("simple", "json", "fields", "table", "protobuf", "nonsense")

KEYS = [
    say("put a 1"),
    say("put a 1 --prev-kv"),
    say("put a -- -x"),
    say("put stdin", "from~stdin\nand more"),
    say("put a"),
    say("put"),
    say("put a 1 2"),
    say("put '' x"),
    say("put a --ignore-value"),
    say("put a 2 --ignore-value"),
    say("put nokey --ignore-value"),
    say("put a 3 --lease=1234"),
    say("put a 3 --ignore-lease"),
    say("put nokey 3 --ignore-lease"),
    *(say(f"put key{number} value{number}") for number in range(5)),
    say("get a"),
    say("get nokey"),
    say("get '' --prefix"),
    say("get '' --from-key"),
    say("get key0 key3"),
    say("get key --prefix --limit=2"),
    say("get key --prefix --keys-only"),
    say("get key --prefix --count-only"),
    say("get key --prefix --count-only --write-out=fields", since="3.5"),
    say("get key --prefix --print-value-only"),
    say("get key --prefix --order=DESCEND --sort-by=KEY"),
    say("get key --prefix --order=ASCEND --sort-by=MODIFY"),
    say("get key --prefix --sort-by=NONSENSE"),
    say("get key --prefix --order=NONSENSE"),
    say("get key --prefix --from-key"),
    say("get a --consistency=s"),
    say("get a --consistency=x"),
    say("get a --rev=2"),
    say("get a --rev=9999"),
    say("get a --hex"),
    say("get"),
    say("txn", TXN),
    say("txn --interactive", TXN),
    say("txn", TXN_OTHERS),
    say("txn", "nonsense\n\n\n\n"),
    say("txn", 'value("a") = "1"\n\nnonsense\n\n\n'),
    say("txn", ""),
    say("del t"),
    say("del t"),
    say("del key0 --prev-kv"),
    say("del key1 key3"),
    say("del key --prefix --prev-kv"),
    say("del zz --from-key"),
    say("del"),
]

WRITTEN = [
    *(say(f"put w 1 --write-out={way}", answer=pb.PutResponse) for way in WAYS),
    *(say(f"get w --write-out={way}", answer=pb.RangeResponse) for way in WAYS),
    *(say(f"get nokey --write-out={way}", answer=pb.RangeResponse) for way in WAYS),
    *(say(f"txn --write-out={way}", TXN, answer=pb.TxnResponse) for way in WAYS),
    *(say(f"del w --prev-kv --write-out={way}", answer=pb.DeleteRangeResponse) for way in WAYS),
    *(say(f"lease list --write-out={way}", answer=pb.LeaseLeasesResponse) for way in WAYS),
    *(say(f"lease revoke 1234 --write-out={way}", answer=pb.LeaseRevokeResponse) for way in WAYS),
    # Its protobuf is the bytes of a header, which name the server.
    *(say(f"lease timetolive 1234 --keys --write-out={way}") for way in WAYS if way != "protobuf"),
    *(say(f"lease keep-alive --once 1234 --write-out={way}", answer=pb.LeaseKeepAliveResponse) for way in WAYS),
    *(say(f"member list --write-out={way}", answer=pb.MemberListResponse) for way in WAYS),
    *(say(f"alarm list --write-out={way}", answer=pb.AlarmResponse) for way in WAYS),
    *(say(f"alarm disarm --write-out={way}", answer=pb.AlarmResponse) for way in WAYS),
    *(say(f"endpoint status --write-out={way}") for way in WAYS),
    *(say(f"endpoint health --write-out={way}") for way in WAYS),
    *(say(f"endpoint hashkv --write-out={way}") for way in WAYS),
    *(say(f"user list --write-out={way}", answer=pb.AuthUserListResponse) for way in WAYS),
    *(say(f"role list --write-out={way}", answer=pb.AuthRoleListResponse) for way in WAYS),
    *(say(f"version --write-out={way}") for way in WAYS[:2]),
]

LEASES = [
    say("lease grant"),
    say("lease grant x"),
    say("lease grant 600"),
    say("lease grant 9000000001"),
    say("lease grant -- -5"),
    say("lease revoke"),
    say("lease revoke xyz"),
    say("lease revoke 1234"),
    say("lease timetolive 1234"),
    say("lease timetolive 1234 --keys"),
    say("lease keep-alive 1234"),
    say("lease keep-alive --once 1234"),
]

WATCHES = [
    say("put watched 1"),
    say("put watched 2"),
    say("del watched"),
    say("watch watched --rev=1", lines=8),
    say("watch watched --rev=1 --prev-kv", lines=12),
    say("watch watched --rev=1 --write-out=json", lines=1),
    say("watch watched --rev=1 --write-out=fields", lines=12),
    say("watch watch watchez --rev=1", lines=8),
    say("watch watch --prefix --rev=1", lines=8),
    say("watch --interactive", "watch watched --rev=1\ncancel x\nnonsense\n", lines=9),
    say("watch watched --rev=1 -- sh -c echo~$ETCD_WATCH_EVENT_TYPE~$ETCD_WATCH_KEY~$ETCD_WATCH_VALUE", lines=11),
    say("watch live", lines=3, while_running=(("put", "live", "now"),)),
    say("watch live --progress-notify", lines=3, while_running=(("put", "live", "then"),)),
    say("watch"),
    say("watch b a"),
]

LOCKS = [
    say("lock door echo held"),
    say("lock door sh -c exit~3"),
    say("lock door --ttl=5 sh -c test~-n~$ETCD_LOCK_KEY&&echo~key"),
    say("lock door", lines=1),
    say("lock"),
    say("elect seat me", lines=2),
    say("elect --listen seat", lines=2, while_running=(("put", "seat/77", "them"),)),
    say("del seat --prefix"),
    say("elect"),
    say("elect seat"),
]

COMPACTIONS = [
    say("compaction 4"),
    say("compaction 4"),
    say("compaction 5 --physical"),
    say("compaction 99999"),
    say("compaction x"),
    say("compaction"),
    say("get a --rev=2"),
    say("watch a --rev=2"),
    say("watch a --rev=2 --write-out=json"),
    say("defrag"),
    say("defrag --cluster", since="3.5"),
    say("endpoint hashkv --rev=6", since="3.5"),
    say("endpoint hashkv --cluster"),
    say("endpoint health --cluster"),
    say("endpoint status --cluster"),
]

MEMBERS = [
    say("member list"),
    say("member list --hex", since="3.5"),
    say("member add x"),
    say("member add x --peer-urls=ftp://a:1"),
    say("member add x --peer-urls=http://127.0.0.1:1 --learner"),
    say("member add y --peer-urls=http://127.0.0.1:1 --learner"),
    say("member add y --peer-urls=http://127.0.0.1:2 --learner"),
    say("member list --write-out=table"),
    say("member promote LEARNER"),
    say("member promote xyz"),
    say("member promote 1234"),
    say("member remove LEARNER"),
    say("member remove 1234"),
    say("member remove xyz"),
    say("member remove"),
    say("member update 1234 --peer-urls=http://127.0.0.1:5"),
    say("member update xyz --peer-urls=http://127.0.0.1:5"),
    say("member update 1234"),
    say("move-leader 1234"),
    say("move-leader xyz"),
    say("move-leader"),
]

USERS = [
    say("auth status", since="3.5"),
    say("auth enable"),
    say("auth disable"),
    say("user list"),
    say("user get nobody"),
    say("user get nobody --detail"),
    say("user delete nobody"),
    say("user passwd nobody --interactive=false", "secret"),
    say("user grant-role nobody none"),
    say("user revoke-role nobody none"),
    say("user add"),
    say("role list"),
    say("role get nobody"),
    say("role delete nobody"),
    say("role grant-permission nobody read a"),
    say("role grant-permission nobody nonsense a"),
    say("role revoke-permission nobody a"),
    say("role add"),
    say("get a --user=nobody:secret"),
]

OTHERS = [
    say("version"),
    say("nonsense"),
    say("get a --nonsense"),
    say("get a --command-timeout=nonsense"),
    say("alarm list"),
    say("alarm disarm"),
    say("alarm nonsense"),
    say("snapshot save"),
    say("completion bash", since="3.5"),
    say("check nonsense"),
    say("get a --endpoints=127.0.0.1:1 --command-timeout=1s --dial-timeout=500ms"),
]

SECTIONS: dict[str, list[Command]] = {
    "keys": KEYS,
    "written": WRITTEN,
    "leases": LEASES,
    "watches": WATCHES,
    "locks": LOCKS,
    "compactions": COMPACTIONS,
    "members": MEMBERS,
    "users": USERS,
    "others": OTHERS,
}
