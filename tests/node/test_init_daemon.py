"""The member tells systemd that it serves."""

from __future__ import annotations

import logging
import secrets
import socket
from pathlib import Path

import pytest

from etcdops.node.init_daemon import notify_ready


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_is_said_to_the_socket_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    """In the file system or in the abstract namespace, as sd_notify(3) has it."""
    name = f"@etcdops-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.settimeout(5)
        daemon.bind("\0" + name[1:] if abstract else name)
        notify_ready()
        assert daemon.recv(100) == b"READY=1"


def test_nobody_listening_is_logged_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """etcd's words; the member serves all the same."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    notify_ready()
    assert [record.message for record in caplog.records] == [
        "notifying init daemon",
        "failed to notify systemd for readiness",
    ]
    caplog.clear()
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify_ready()
    assert [record.message for record in caplog.records] == [
        "notifying init daemon",
        "successfully notified init daemon",
    ]
