"""A disk that is slow or broken, for one process: what it asks of the disk is held up or refused by a filter.

    python3 syscalls.py DELAY_S ERRNO PROGRAM [ARGUMENT]...

The kernel asks this process (seccomp, user notification) before each fsync and fdatasync of PROGRAM. While the file
SWITCH exists the call takes DELAY_S longer, or fails with ERRNO where that is not 0. It runs on the test hosts, alone.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
import threading
import time

SWITCH = "/run/lock/disk-fault"
_RECV, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_NUMBERS = {"x86_64": (317, 0xC000003E, (74, 75)), "aarch64": (277, 0xC00000B7, (82, 83))}
"""The number of seccomp, the architecture as filters see it, the numbers of fsync and fdatasync."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def main() -> None:
    delay_s, error, command = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        theirs.close()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # until the last moment of the program there is somebody who answers
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        listener = array.array("i", ancillary[0][2])[0]
        _answer(listener, delay_s, error)
        return
    ours.close()
    listener = _filter()
    theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
    theirs.close()
    os.close(listener)
    os.execv(command[0], command)


def _filter() -> int:
    """From here on the two calls of this process, and of what it becomes, wait for an answer."""
    seccomp, architecture, (fsync, fdatasync) = _NUMBERS[platform.machine()]
    allow, ask = 0x7FFF0000, 0x7FC00000
    code = [
        (0x20, 0, 0, 4),
        (0x15, 1, 0, architecture),
        (0x06, 0, 0, allow),
        (0x20, 0, 0, 0),
        (0x15, 2, 0, fsync),
        (0x15, 1, 0, fdatasync),
        (0x06, 0, 0, allow),
        (0x06, 0, 0, ask),
    ]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    program = _Program(len(code), ctypes.addressof(packed))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # no new privileges
    listener = libc.syscall(seccomp, 1, 8, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def _answer(listener: int, delay_s: float, error: int) -> None:
    ended = select.poll()
    ended.register(listener, select.POLLIN)
    while not any(event & select.POLLHUP for _, event in ended.poll()):
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECV, asked)
        except OSError as failed:
            if failed.errno in (errno.ENOENT, errno.EINTR):
                continue
            return
        threading.Thread(target=_reply, args=(listener, bytes(asked), delay_s, error), daemon=True).start()


def _reply(listener: int, asked: bytes, delay_s: float, error: int) -> None:
    (call,) = struct.unpack_from("Q", asked)
    wrong = os.path.exists(SWITCH)
    if wrong and delay_s:
        time.sleep(delay_s)
    reply = struct.pack("Qqii", call, 0, -error, 0) if wrong and error else struct.pack("Qqii", call, 0, 0, _CONTINUE)
    try:
        fcntl.ioctl(listener, _SEND, bytearray(reply))
    except OSError:
        return  # it was interrupted, and asks again


if __name__ == "__main__":
    main()
