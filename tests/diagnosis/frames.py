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


def _fluentd(line: str) -> str:
    pod = {"pod_name": "etcd-m1", "namespace_name": "kube-system"}
    return json.dumps({"@timestamp": "2024-05-02T10:00:00.123Z", "stream": "stderr", "log": line, "kubernetes": pod})


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
    "compose, coloured": lambda line: f"\x1b[36metcd1_1  | \x1b[0m{line}",
    "grep -n": lambda line: f"/var/log/etcd/etcd.log:812:{line}",
    "grep --color": lambda line: f"\x1b[35m\x1b[Ketcd.log\x1b[m\x1b[K\x1b[36m\x1b[K:\x1b[m\x1b[K{line}\x1b[m\x1b[K",
    "mail": lambda line: f"> {line}",
    "fluentd, fluent-bit": _fluentd,
    "Elasticsearch": lambda line: json.dumps({"_index": "logs", "_source": {"message": line, "host": {"name": "h1"}}}),
}
"""By name."""
