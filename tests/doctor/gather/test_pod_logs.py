"""Static pods: all that the kubelet keeps of their logs is one log."""

from __future__ import annotations

import asyncio
import gzip
import os
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from etcdops.doctor.gather.pod_logs import oldest_first, pod_log
from etcdops.errors import EtcdopsError
from etcdops.inventory.model import Manager, ServiceSpec
from etcdops.remote.local import LocalSession
from etcdops.services.discover import manifest_pod
from etcdops.services.log_file import read_parts
from tests.fakes.session import FakeSession, said

POD = ServiceSpec(manager=Manager.KUBELET, name="etcd", image="registry.k8s.io/etcd:3.5.16-0")
MANIFEST = """
metadata: {name: etcd-main, namespace: kube-system}
spec:
  containers:
  - {name: backup, command: [sleep, inf]}
  - {name: member, command: [etcd, --name=h1]}
"""


def test_restarts_rotated_parts_and_older_pods_are_in_the_order_in_which_they_were_written() -> None:
    """What is packed is packed later than what came after it: its name tells when, not its time."""
    old, new = "/var/log/pods/kube-system_etcd-h1_1/etcd", "/var/log/pods/kube-system_etcd-h1_2/etcd"
    listed = [
        f"900 {new}/10.log",
        f"880 {new}/9.log.20260131-090000",
        f"885 {new}/9.log.20260131-080000.gz",
        f"890 {new}/9.log",
        f"891 {new}/9.log.20260131-080000.tmp",
        f"100 {old}/0.log",
        f"99 {old}/notes.log",
    ]
    assert [file.path.removeprefix("/var/log/pods/kube-system_etcd-h1_") for file in oldest_first(listed)] == [
        "1/etcd/0.log",
        "2/etcd/9.log.20260131-080000.gz",
        "2/etcd/9.log.20260131-090000",
        "2/etcd/9.log",
        "2/etcd/10.log",
    ]


async def test_what_ended_before_the_time_that_is_asked_for_is_not_read() -> None:
    """By the names that the manifest gives; of a pod that is silent since, the last file is read all the same."""
    folder = "/var/log/pods/kube-system_etcd-main-h1_1/member"
    session = FakeSession(files={"/etc/kubernetes/manifests/etcd.yaml": MANIFEST})
    session.answer("/var/log/pods/", result=said(f"100 {folder}/0.log\n200 {folder}/1.log\n"))
    session.answer("/var/log/containers/", result=said())
    session.answer("gzip", result=said('2026-01-31T08:00:00Z stderr F {"ts":"2026-01-31T08:00:00.000Z"}\n'))
    for since, read in ((150.0, ["1.log"]), (None, ["0.log", "1.log"]), (999.0, ["1.log"])):
        session.ran.clear()
        assert len([line async for line in pod_log(session, POD, lines=10, since=since)]) == 1
        assert session.ran[0].argv[-2:] == ("etcd-main", "member")
        assert [str(word) for word in session.ran[-1].argv if str(word).startswith(folder)] == [
            f"{folder}/{name}" for name in read
        ]


async def test_a_pod_without_a_log_is_told_of_with_where_to_look() -> None:
    session = FakeSession()
    session.answer("", result=said())
    with pytest.raises(EtcdopsError, match="no log of the static pod etcd") as caught:
        await anext(aiter(pod_log(session, POD, lines=10)))
    assert "crictl" in caught.value.hint


def test_a_manifest_names_the_container_that_is_the_member() -> None:
    assert manifest_pod(MANIFEST.encode()) == ("etcd-main", "member")
    assert manifest_pod(b"spec: {containers: [{command: [kube-apiserver]}]}") is None
    assert manifest_pod(b"{") is None


@pytest.mark.slow
async def test_packed_and_plain_parts_are_one_log_and_the_next_start_is_followed(tmp_path: Path) -> None:
    """Until the pod is made anew: then there is another folder to be read."""
    folder = tmp_path / "etcd-h1_1" / "etcd"
    folder.mkdir(parents=True)
    (folder / "0.log.20260131-080000.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    (folder / "0.log").write_text("three\n")
    (folder / "1.log").write_text("four\nfive\n")
    paths = [str(folder / name) for name in ("0.log.20260131-080000.gz", "0.log", "1.log")]
    session = LocalSession("here")
    try:
        assert [line async for line in read_parts(session, paths, lines=10, user="")] == [
            b"one", b"two", b"three", b"four", b"five",
        ]  # fmt: skip
        assert [line async for line in read_parts(session, paths, lines=2, user="")] == [b"four", b"five"]
        coming = [paths[-1], str(folder / "2.log")]
        reading = read_parts(session, paths, lines=4, follow=coming, until_newer=f"{tmp_path}/etcd-*/", user="")
        seen: list[bytes] = []
        async with asyncio.timeout(30), aclosing(cast("asyncio.StreamReader", reading)) as lines:  # type: ignore[type-var]  # a generator
            async for line in lines:
                seen.append(line)
                if line == b"five":
                    (folder / "2.log").write_text("six\n")
                if line == b"six":
                    os.utime(folder.parent, (1, 1))
                    (tmp_path / "etcd-h1_2").mkdir()
        assert seen == [b"two", b"three", b"four", b"five", b"six"]
    finally:
        await session.close()
