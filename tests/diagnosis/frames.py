"""The frames that a line of etcd can arrive in: what journald, docker, Kubernetes and compose put round it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

Frame = Callable[[str], str]


def _docker_json(line: str) -> str:
    return json.dumps({"log": line + "\n", "stream": "stderr", "time": "2024-05-02T10:00:00.123456789Z"})


def _journal_json(line: str) -> str:
    fields = {
        "__REALTIME_TIMESTAMP": "1714644000123456",
        "_HOSTNAME": "m1",
        "SYSLOG_IDENTIFIER": "etcd",
        "MESSAGE": line,
    }
    return json.dumps(fields)


FRAMES: Mapping[str, Frame] = {
    "bare": lambda line: line,
    "journald": lambda line: f"May 02 10:00:00 m1 etcd[1242]: {line}",
    "journald, Chinese": lambda line: f"5月 02 10:00:00 m1 etcd[1242]: {line}",
    "journald, ISO": lambda line: f"2024-05-02T10:00:00+0200 m1 etcd[1242]: {line}",
    "journald, JSON": _journal_json,
    "docker -t": lambda line: f"2024-05-02T10:00:00.123456789Z {line}",
    "docker json-file": _docker_json,
    "compose": lambda line: f"etcd1_1  | {line}",
    "CRI": lambda line: f"2024-05-02T10:00:00.123456789Z stderr F {line}",
    "crictl --timestamps": lambda line: f"2024-05-02T10:00:00.123456789+02:00 {line}",
    "kubectl --prefix": lambda line: f"[pod/etcd-m1/etcd] {line}",
    "kubectl --prefix --timestamps": lambda line: f"[pod/etcd-m1/etcd] 2024-05-02T10:00:00.123456789Z {line}",
    "stern": lambda line: f"etcd-0 etcd {line}",
    "windows line end": lambda line: f"{line}\r",
}
"""By name."""
