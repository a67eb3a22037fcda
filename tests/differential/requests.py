"""Short words for the requests that tests are made of."""

from __future__ import annotations

from etcdops.proto import etcdserverpb_pb2 as pb

NUL = b"\0"


def end_of(prefix: bytes) -> bytes:
    """Where the keys with that prefix end; its last byte is never 0xff here."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def get(key: bytes, end: bytes = b"", *, revision: int = 0, limit: int = 0) -> pb.RangeRequest:
    return pb.RangeRequest(key=key, range_end=end, revision=revision, limit=limit)


def all_of(prefix: bytes) -> pb.RangeRequest:
    return get(prefix, end_of(prefix))


def put(key: bytes, value: bytes = b"v", *, lease: int = 0, prev_kv: bool = False) -> pb.PutRequest:
    return pb.PutRequest(key=key, value=value, lease=lease, prev_kv=prev_kv)


def delete(key: bytes, end: bytes = b"", *, prev_kv: bool = False) -> pb.DeleteRangeRequest:
    return pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=prev_kv)


def op(request: pb.RangeRequest | pb.PutRequest | pb.DeleteRangeRequest | pb.TxnRequest) -> pb.RequestOp:
    """As one operation of a transaction."""
    match request:
        case pb.RangeRequest():
            return pb.RequestOp(request_range=request)
        case pb.PutRequest():
            return pb.RequestOp(request_put=request)
        case pb.DeleteRangeRequest():
            return pb.RequestOp(request_delete_range=request)
        case _:
            return pb.RequestOp(request_txn=request)


def txn(*requests: pb.RangeRequest | pb.PutRequest | pb.DeleteRangeRequest | pb.TxnRequest) -> pb.TxnRequest:
    """These in order, on no condition."""
    return pb.TxnRequest(success=map(op, requests))
