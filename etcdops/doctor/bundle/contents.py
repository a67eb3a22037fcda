"""What goes into an archive, as documents: values in, JSON out. Nothing here is redacted yet."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from etcdops.certs.facts import CertificateFacts
from etcdops.client.metrics import MemberMetrics
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.bundle.redact import GONE
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation
from etcdops.doctor.words import Said, in_words
from etcdops.ids import padded_id
from etcdops.secret import Secret
from etcdops.services.port import EffectiveConfig, ProcessConfig, Setting
from etcdops.wording import Texts

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

_IDS = frozenset({"member_id", "cluster_id", "id", "leader", "member"})
"""Fields whose numbers are IDs, where they are numbers: etcd prints those in hexadecimal."""
_SECRET_FLAGS = re.compile("password|secret")


def documents(observation: Observation) -> Iterator[tuple[str, Json]]:
    """(name, content) of what was looked at; what was not is left out."""
    if observation.view is not None:
        yield "status.json", plain(observation.view)
    if observation.versions or observation.health:
        yield "versions.json", {"versions": plain(observation.versions), "health": plain(observation.health)}
    for label, reading in observation.metrics.items():
        if isinstance(reading, MemberMetrics):
            yield f"metrics/{label}.json", plain(reading)
    for name, host in observation.hosts.items():
        yield f"hosts/{name}.json", host_document(host)
    if observation.paths:
        yield "ways.json", plain(observation.paths)
    if observation.certificates:
        yield "certificates.json", plain(observation.certificates)
    if observation.placed:
        yield "inventory.json", [_placed(member) for member in observation.placed]
    if observation.auth is not None:
        yield "auth.json", plain(observation.auth)


def host_document(host: HostObservation) -> Json:
    """A host, its members' settings with where each of them stands."""
    facts = plain(host.facts) if host.facts is not None else None
    if isinstance(facts, dict):
        facts.pop("found", None)  # they stand below, with more
    return {
        "host": host.host,
        "error": host.error,
        "facts": facts,
        "members": [_member(member) for member in host.members],
        "file_systems": plain(host.file_systems),
        "oom_kills": plain(host.oom_kills),
        "kernel_errors": plain(host.kernel_errors),
    }


def _member(member: MemberOnHost) -> Json:
    return {
        "name": member.name,
        "service": member.found.name,
        "keeper": str(member.found.keeper),
        "state": member.found.state.value,
        "status": plain(member.status),
        "settings": settings_document(member.config) if member.config is not None else _settings(member.found.config),
        "data": plain(member.data),
        "process": plain(member.process),
    }


def settings_document(config: EffectiveConfig) -> Json:
    return {"running": _settings(config.running), "next_start": _settings(config.next_start), "pending": config.pending}


def _settings(config: ProcessConfig | None) -> Json:
    if config is None:
        return None
    flags = {
        name: f"{name}={_value(name, setting)}  # {setting.where or setting.origin.value}"
        for name, setting in config.flags.items()
    }
    return {
        "program": config.program,
        "user": config.user,
        "flags": [flags[name] for name in sorted(flags)],
        "ignored": config.ignored,
        "outdated": config.outdated,
    }


def _value(name: str, setting: Setting) -> str:
    return GONE if _SECRET_FLAGS.search(name) else setting.value


def _placed(member: object) -> Json:
    """Of an inventory's member only where it is: how to log in there is nobody else's business."""
    fields = (
        "name", "data_dir", "wal_dir", "listen_client_urls", "advertise_client_urls", "listen_peer_urls",
        "initial_advertise_peer_urls", "listen_metrics_urls",
    )  # fmt: skip
    return {name: plain(getattr(member, name)) for name in fields}


def plain(value: object, field: str = "") -> Json:
    """Any of our values as JSON: IDs in hexadecimal, secrets as `***`, what has no such form by its text."""
    match value:
        case None | bool() | str():
            return value
        case Secret():
            return str(value)
        case Severity():
            return value.word
        case enum.Enum():
            return plain(value.value)
        case int():
            return padded_id(value) if field in _IDS else value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime.datetime():
            return value.isoformat()
        case CertificateFacts():
            return {
                one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value) if one.name != "serial"
            }
        case ProcessConfig():
            return _settings(value)
        case Mapping():
            return {str(name): plain(one, str(name)) for name, one in value.items()}
        case list() | tuple() | frozenset() | set():
            return [plain(one) for one in value]
    if isinstance(value, Said | Texts):
        return in_words(value, "en")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name), one.name) for one in dataclasses.fields(value)}
    return str(value)
