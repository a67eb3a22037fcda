"""One member of the cluster, and the JSON form in which it travels through the log and between members."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from etcdops.ids import MemberID

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What `json.loads` can return."""


class BadMember(ValueError):
    """Bytes that are not a member's JSON."""


@dataclass(frozen=True, slots=True)
class Member:
    """Who a member is (ID, peer URLs, learner) and, once it has published it, its name and client URLs."""

    id: MemberID
    peer_urls: tuple[str, ...]
    name: str = ""
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    @property
    def is_started(self) -> bool:
        """It has published its name. Source: etcd membership/member.go, Member.IsStarted."""
        return bool(self.name)

    def to_dict(self) -> dict[str, Json]:
        """etcd's JSON object: keys in its order, empty optional ones left out."""
        shown: dict[str, Json] = {"id": int(self.id), "peerURLs": list(self.peer_urls)}
        if self.is_learner:
            shown["isLearner"] = True
        if self.name:
            shown["name"] = self.name
        if self.client_urls:
            shown["clientURLs"] = list(self.client_urls)
        return shown

    def to_json(self) -> bytes:
        return json.dumps(self.to_dict(), separators=(",", ":")).encode()


def parse_member(text: bytes | str) -> Member:
    """A member from etcd's JSON. Unknown keys are ignored, absent ones empty. Raises: BadMember."""
    return member_of(_parse_object(text))


def parse_members(text: bytes | str) -> list[Member]:
    """The list that etcd answers on `/members`. Raises: BadMember."""
    loaded = _parse(text)
    if not isinstance(loaded, list):
        raise BadMember("not a JSON list of members")
    return [member_of(one) for one in loaded]


def members_json(members: Iterable[Member]) -> bytes:
    """The list as etcd answers it on `/members`."""
    return json.dumps([member.to_dict() for member in members], separators=(",", ":")).encode()


def member_of(loaded: Json) -> Member:
    """A member from a decoded JSON object. Raises: BadMember."""
    if not isinstance(loaded, dict):
        raise BadMember("not a JSON object")
    number = loaded.get("id", 0)
    name = loaded.get("name", "")
    is_learner = loaded.get("isLearner", False)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 64:
        raise BadMember("`id` is not an unsigned 64-bit number")
    if not isinstance(name, str) or not isinstance(is_learner, bool):
        raise BadMember("`name` is not a text or `isLearner` not a boolean")
    return Member(MemberID(number), _urls(loaded, "peerURLs"), name, _urls(loaded, "clientURLs"), is_learner)


def _urls(loaded: Mapping[str, Json], key: str) -> tuple[str, ...]:
    urls = loaded.get(key)
    if urls is None:
        return ()
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise BadMember(f"`{key}` is not a list of texts")
    return tuple(str(url) for url in urls)


def _parse(text: bytes | str) -> Json:
    try:
        loaded: Json = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMember(f"not JSON: {error}") from error
    return loaded


def _parse_object(text: bytes | str) -> Mapping[str, Json]:
    loaded = _parse(text)
    if not isinstance(loaded, dict):
        raise BadMember("not a JSON object")
    return loaded


def promotion_json(member: MemberID) -> bytes:
    """The context of the configuration change that makes a learner a voter.

    Source: etcd membership/cluster.go, ConfigChangeContext.
    """
    shown: dict[str, Json] = {"id": int(member), "peerURLs": None, "isPromote": True}
    return json.dumps(shown, separators=(",", ":")).encode()


def parse_addition(text: bytes) -> tuple[Member, bool]:
    """The context of an "add node" change: (member, whether it promotes a learner). Raises: BadMember."""
    loaded = _parse_object(text)
    return member_of(loaded), loaded.get("isPromote") is True
