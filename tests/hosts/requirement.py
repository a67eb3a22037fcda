"""Whether this machine can carry test hosts, and if not, why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from typing import Final

from tests.hosts.base import find_base

REQUIRED: Final = "ETCDOPS_REQUIRE_HOSTS"
"""Set in CI: a test that needs hosts fails there instead of being skipped."""

_PROGRAMS: Final = ("unshare", "nsenter", "setpriv", "mount", "pivot_root", "ip", "ssh")
_TRIAL: Final = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/cgroup /mnt/lower /mnt/upper /mnt/work /mnt/merged
mount -t cgroup2 cgroup2 /mnt/cgroup || { echo "the kernel or the container lets no cgroup2 be mounted"; exit 1; }
mkdir "/mnt/cgroup/$1" && rmdir "/mnt/cgroup/$1" || { echo "cgroups cannot be made: they are read-only"; exit 1; }
mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/merged ||
    { echo "no overlay file system"; exit 1; }
ip link add bridge type bridge || { echo "no bridges"; exit 1; }
ip link add trial0 type veth peer name trial1 || { echo "no veth links"; exit 1; }
"""


@cache
def why_not(*, with_base: bool = True) -> str | None:
    """None when hosts can be started here; otherwise the first reason, with what to do about it.

    With `with_base` False the question is whether they could be once the base root is built.
    """
    if sys.platform != "linux":
        return "test hosts are Linux namespaces; this is another system"
    if os.geteuid() != 0:
        return "test hosts need root (namespaces, mounts, a bridge)"
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"test hosts need {', '.join(missing)}; on Debian: apt-get install util-linux iproute2 openssh-client"
    trial = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup", "--"]
    tried = subprocess.run(
        [*trial, "sh", "-c", _TRIAL, "sh", f"etcdops-trial-{os.getpid()}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if tried.returncode != 0:
        said = (tried.stdout + tried.stderr).strip().splitlines()
        return f"test hosts cannot be made on this machine: {said[0] if said else 'unshare failed'}"
    if with_base and find_base() is None:
        return "the root of the test hosts is not built: `make hosts-base` builds it (one to three minutes)"
    return None
