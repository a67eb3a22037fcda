"""Which process has a TCP connection, asked from its other end.

The kernel is asked about that one socket by netlink (sock_diag): /proc/net/tcp lists all of a machine, which takes tens
of milliseconds on a busy one, and members redial often. Source: linux/inet_diag.h, inet_diag_req_v2, inet_diag_msg.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
_INODE_AT = _HEADER.size + 68
_TIMEOUT_S = 2.0


def owner_of_connection(local_port: int, remote_port: int, pids: dict[str, int]) -> str | None:
    """Which of these processes has a TCP connection over 127.0.0.1 with these ports; None = none of them."""
    inode = _inode_of(local_port, remote_port)
    if not inode:
        return None
    wanted = f"socket:[{inode}]"
    for name, pid in pids.items():
        try:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if str(descriptor.readlink()) == wanted:
                        return name
                except OSError:
                    continue  # closed meanwhile
        except OSError:
            continue  # the process has ended
    return None


def _inode_of(local_port: int, remote_port: int) -> int:
    """0 when there is no such connection, or nobody has it open any more."""
    loopback = socket.inet_aton("127.0.0.1").ljust(16, b"\0")
    identity = struct.pack("!HH", local_port, remote_port) + loopback * 2 + bytes(4) + _NO_COOKIE
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE) + identity
    header = _HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        kernel.sendto(header + question, (0, 0))
        answer = kernel.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        number = -int(struct.unpack_from("=i", answer, _HEADER.size)[0])
        if number == errno.ENOENT:
            return 0
        raise OSError(number, f"sock_diag: {os.strerror(number)}")
    return int(struct.unpack_from("=I", answer, _INODE_AT)[0])
