"""The hand-written encoding of a pair writes and reads exactly what protobuf does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.proto import mvccpb_pb2
from etcdops.snapshot import keyvalue

edges = [0, 1, 127, 128, 16383, 16384, (1 << 21) - 1, 1 << 21, 1 << 28, (1 << 40) - 1, (1 << 63) - 1]
revisions = st.one_of(st.sampled_from(edges), st.integers(0, (1 << 63) - 1))
leases = st.one_of(st.sampled_from([0, -1, -(1 << 63)]), st.integers(-(1 << 63), (1 << 63) - 1))
texts = st.one_of(st.binary(max_size=300), st.sampled_from([b"", b"x" * 127, b"x" * 128, b"x" * 20_000]))


def by_protobuf(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> bytes:
    kv = mvccpb_pb2.KeyValue(
        key=key, create_revision=create, mod_revision=mod, version=version, value=value, lease=lease
    )
    return kv.SerializeToString(deterministic=True)


@given(texts, revisions, revisions, revisions, texts, leases)
def test_it_writes_protobufs_bytes_and_reads_them_back(
    key: bytes, create: int, mod: int, version: int, value: bytes, lease: int
) -> None:
    """Golden: the protobuf library."""
    encoded = keyvalue.encode(key, create, mod, version, value, lease)
    assert encoded == by_protobuf(key, create, mod, version, value, lease)
    assert keyvalue.decode(encoded) == (key, create, mod, version, value, lease)
    assert keyvalue.without_value(encoded) == by_protobuf(key, create, mod, version, b"", lease)
    assert keyvalue.encode_key(key) == by_protobuf(key, 0, 0, 0, b"", 0)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_pair_are_an_error_and_nothing_worse(junk: bytes) -> None:
    """A snapshot may hold anything."""
    try:
        keyvalue.decode(junk)
    except ValueError:
        return


@pytest.mark.parametrize("junk", [b"\x0a", b"\x0a\x05abc", b"\x18", b"\x18" + b"\xff" * 11, b"\x3a\x00", b"\x0b"])
def test_a_pair_cut_short_is_named(junk: bytes) -> None:
    """Lengths beyond the end, endless varints, fields that a pair does not have."""
    with pytest.raises(ValueError, match=r"pair|varint"):
        keyvalue.decode(junk)
