"""What is left of a run anywhere on the machine: asked after it ended, the answer must be nothing."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.hosts import Hosts
from tests.hosts.keeper import cgroup_name
from tests.hosts.network import link_exists, link_name

_KINDS = ("mnt", "net", "pid", "uts", "ipc", "cgroup")


@dataclass(frozen=True)
class Traces:
    """How to recognize one run: taken while it is up."""

    folder: Path
    namespaces: frozenset[str]

    @classmethod
    def of(cls, hosts: Hosts) -> Traces:
        """Raises HostError when a host does not answer."""
        pids = [hosts.keeper_pid, *(host.pid for host in hosts if host.is_on)]
        own = {os.readlink(f"/proc/self/ns/{kind}") for kind in _KINDS}
        found = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids for kind in _KINDS}
        return cls(hosts.folder, frozenset(found - own))

    def left(self) -> list[str]:
        """Every trace of the run, in words. Empty is clean."""
        found = []
        if self.folder.exists():
            found.append(f"folder {self.folder}")
        if link_exists(self.folder.name):
            found.append(f"link {link_name(self.folder.name)}")
        found += [f"cgroup {name}" for name in _cgroups() if name == cgroup_name(self.folder)]
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                found += self._of_process(process)
        return found

    def _of_process(self, process: Path) -> list[str]:
        found = []
        # A process may end while it is looked at.
        with suppress(OSError):
            for kind in _KINDS:
                if os.readlink(process / "ns" / kind) in self.namespaces:
                    return [
                        f"process {process.name} ({(process / 'comm').read_text().strip()}) in its {kind} namespace"
                    ]
            if f"{self.folder.name}-" in (process / "mountinfo").read_text():
                found.append(f"a mount in the namespace of process {process.name}")
        return found


def _cgroups() -> list[str]:
    """Names at the top of the cgroup2 tree, wherever that is mounted, or nowhere."""
    script = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/cgroup && mount -t cgroup2 cgroup2 /mnt/cgroup && ls /mnt/cgroup"
    listed = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    return listed.stdout.split()
