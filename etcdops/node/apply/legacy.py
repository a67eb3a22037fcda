"""Requests in the form of etcd's first API, which etcd 3.4 and 3.5 still use for two things: a member publishing its
name and client URLs, and the cluster version.

Source: etcd server/etcdserver/apply_v2.go, applierV2store.Put; server/etcdserver/server.go, applyEntryNormal.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from etcdops.ids import MemberID
from etcdops.node.apply.wire import Malformed, fields
from etcdops.node.member.member import BadMember, Json, member_of

_FIELD_ID, _FIELD_METHOD, _FIELD_PATH, _FIELD_VALUE = 1, 2, 3, 4


class PublishedAttributes(NamedTuple):
    """A member says who it is."""

    request_id: int
    member: MemberID
    name: str
    client_urls: tuple[str, ...]


class ClusterVersion(NamedTuple):
    """The leader has found out which version everybody can speak."""

    request_id: int
    version: str


class Ignored(NamedTuple):
    """Any other request of that API: nothing of ours."""

    request_id: int


def decode(data: bytes) -> PublishedAttributes | ClusterVersion | Ignored | None:
    """A v2 request, or None when `data` is none. Never raises."""
    try:
        found = {number: value for number, _, value in fields(data)}
    except Malformed:
        return None
    request_id, method, path = found.get(_FIELD_ID, 0), found.get(_FIELD_METHOD), found.get(_FIELD_PATH)
    if not isinstance(request_id, int) or not isinstance(method, bytes) or not method.isalpha():
        return None
    if not isinstance(path, bytes) or not (path.startswith(b"/") or path == b""):
        return None
    value = found.get(_FIELD_VALUE, b"")
    parts = path.split(b"/")
    if method != b"PUT" or not isinstance(value, bytes):
        return Ignored(request_id)
    if path == b"/0/version":
        return ClusterVersion(request_id, value.decode(errors="replace"))
    if len(parts) == 5 and parts[:3] == [b"", b"0", b"members"] and parts[4] == b"attributes":
        return _attributes(request_id, parts[3], value) or Ignored(request_id)
    return Ignored(request_id)


def _attributes(request_id: int, member_hex: bytes, value: bytes) -> PublishedAttributes | None:
    try:
        loaded: Json = json.loads(value)
        attributes = member_of(loaded)
        member = MemberID(int(member_hex, 16))
    except (ValueError, RecursionError, BadMember):
        return None
    return PublishedAttributes(request_id, member, attributes.name, attributes.client_urls)
