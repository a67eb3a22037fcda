"""Requests as an operator would type them: what a failing run is printed as."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString

from etcdops.proto import etcdserverpb_pb2 as pb


def spoken(path: str, request: Message) -> str:
    """One line, or a few for a transaction."""
    match request:
        case pb.PutRequest():
            return "etcdctl " + _put(request)
        case pb.RangeRequest():
            return "etcdctl " + _get(request)
        case pb.DeleteRangeRequest():
            return "etcdctl " + _delete(request)
        case pb.TxnRequest():
            return "\n".join(["etcdctl txn", *_txn(request, "    ")])
        case pb.CompactionRequest():
            return f"etcdctl compaction {request.revision}" + _flag("physical", request.physical)
        case pb.LeaseGrantRequest():
            return f"etcdctl lease grant {request.TTL}  # ID {request.ID}"
        case pb.LeaseRevokeRequest():
            return f"etcdctl lease revoke {request.ID:x}"
        case pb.LeaseTimeToLiveRequest():
            return f"etcdctl lease timetolive {request.ID:x}" + _flag("keys", request.keys)
        case pb.HashKVRequest():
            return f"etcdctl endpoint hashkv --rev={request.revision}"
        case pb.MemberAddRequest():
            learner = _flag("learner", request.isLearner)
            return f"etcdctl member add x --peer-urls={','.join(request.peerURLs)}{learner}"
        case _:
            return f"{path.rpartition('.')[2]} {_one_line(request)}".rstrip()


def spoken_watch(create: pb.WatchCreateRequest) -> str:
    filters = "".join(f"  # filter {kind}" for kind in create.filters)
    return (
        f"etcdctl watch {_range(create.key, create.range_end)}{_number('rev', create.start_revision)}"
        f"{_flag('prev-kv', create.prev_kv)}{_flag('progress-notify', create.progress_notify)}"
        f"{_flag('fragment', create.fragment)}{_number('id', create.watch_id)}{filters}"
    )


def _put(request: pb.PutRequest) -> str:
    return (
        f"put {_text(request.key)} {_text(request.value)}{_number('lease', request.lease)}"
        f"{_flag('prev-kv', request.prev_kv)}{_flag('ignore-value', request.ignore_value)}"
        f"{_flag('ignore-lease', request.ignore_lease)}"
    )


def _get(request: pb.RangeRequest) -> str:
    sorted_by = ""
    if request.sort_order or request.sort_target:
        order, target = (
            pb.RangeRequest.SortOrder.Name(request.sort_order),
            pb.RangeRequest.SortTarget.Name(request.sort_target),
        )
        sorted_by = f" --order={order} --sort-by={target}"
    bounds = "".join(
        _number(name.replace("_", "-"), getattr(request, name))
        for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
    )
    return (
        f"get {_range(request.key, request.range_end)}{_number('rev', request.revision)}"
        f"{_number('limit', request.limit)}{sorted_by}{bounds}{_flag('consistency=s', request.serializable)}"
        f"{_flag('keys-only', request.keys_only)}{_flag('count-only', request.count_only)}"
    )


def _delete(request: pb.DeleteRangeRequest) -> str:
    return f"del {_range(request.key, request.range_end)}{_flag('prev-kv', request.prev_kv)}"


def _txn(request: pb.TxnRequest, indent: str) -> Iterable[str]:
    for compare in request.compare:
        yield f"{indent}if   {_one_line(compare)}"
    for word, ops in (("then", request.success), ("else", request.failure)):
        for op in ops:
            match op.WhichOneof("request"):
                case "request_put":
                    yield f"{indent}{word} {_put(op.request_put)}"
                case "request_range":
                    yield f"{indent}{word} {_get(op.request_range)}"
                case "request_delete_range":
                    yield f"{indent}{word} {_delete(op.request_delete_range)}"
                case "request_txn":
                    yield f"{indent}{word} txn"
                    yield from _txn(op.request_txn, indent + "    ")
                case _:
                    yield f"{indent}{word} nothing"


def _range(key: bytes, end: bytes) -> str:
    return f"{_text(key)} {_text(end)}" if end else _text(key)


def _text(value: bytes) -> str:
    return repr(value)[1:]


def _flag(name: str, given: bool) -> str:
    return f" --{name}" if given else ""


def _number(name: str, number: int) -> str:
    return f" --{name}={number}" if number else ""


def _one_line(message: Message) -> str:
    return MessageToString(message, as_one_line=True)
