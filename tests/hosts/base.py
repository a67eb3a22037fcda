"""The root file system every host starts from: built once by debootstrap, kept in `.cache/hosts/`, never written again.

A root's folder carries a digest of its recipe in its name, so a changed recipe builds a new one. Roots are built beside
and moved into place whole: an interrupted build leaves nothing that could be taken for a root.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache" / "hosts"
SUITE: Final = "bookworm"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_BUILD_TIMEOUT_S: Final = 900.0
_LOCK_TIMEOUT_S: Final = 900.0

_PACKAGES: Final = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "cron", "logrotate", "sudo", "procps",
    "iproute2", "nftables", "iptables", "curl", "ca-certificates", "openssl", "adduser",
    "python3", "python3-venv",  # the bundled node runs from an archive with the host's own Python
    "tcc",  # compiles skew.c: Host.skew_clock
    "podman", "runc",  # members in containers
    "daemontools", "supervisor",  # members under other supervisors than systemd; off until a test starts them
    "haproxy", "dnsmasq-base",  # they check configuration that is rendered for them
)  # fmt: skip

_SKEW: Final = Path(__file__).with_name("skew.c")

_INSTALL: Final = r"""
set -eu
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Languages=none update
apt-get -qq -y --no-install-recommends install "$@" >/dev/null
rm /usr/sbin/policy-rc.d
"""

_CONFIGURE: Final = r"""
set -eu
tcc -shared -nostdlib -o /usr/local/lib/clock-skew.so /usr/local/lib/skew.c
useradd --create-home --uid 1000 --shell /bin/bash --groups sudo ops
useradd --create-home --uid 1001 --shell /bin/bash deploy
echo 'deploy ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy
chmod 0440 /etc/sudoers.d/deploy
for home in /root /home/ops /home/deploy; do mkdir -p "$home/.ssh"; chmod 0700 "$home/.ssh"; done
chown ops:ops /home/ops/.ssh
chown deploy:deploy /home/deploy/.ssh

# Each host gets its own: nothing may be born cloned.
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id
: >/etc/machine-id
ln -s /etc/machine-id /var/lib/dbus/machine-id

# A host has no console and no way out of its bridge.
systemctl set-default multi-user.target
systemctl mask console-getty.service getty.target apt-daily.timer apt-daily-upgrade.timer
mkdir -p /var/log/journal
: >/etc/apt/sources.list
rm /etc/dpkg/dpkg.cfg.d/test-hosts
: >/etc/resolv.conf
: >/etc/hosts
echo 'LANG=C.UTF-8' >/etc/default/locale
printf 'UseDNS no\n' >/etc/ssh/sshd_config.d/test-hosts.conf
# Containers in a host: its cgroup tree has no controllers, an overlay cannot lie on top of its overlay, and podman's
# own limits may be above what the machine lets anybody set.
systemctl disable supervisor haproxy
systemctl mask podman-auto-update.timer podman.socket podman.service podman-restart.service
mkdir -p /etc/containers
cat >/etc/containers/containers.conf <<'END'
[containers]
pids_limit = 0
netns = "host"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "systemd"
events_logger = "file"
END
cat >/etc/containers/storage.conf <<'END'
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
END

rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/bootstrap.log
"""

_DPKG: Final = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
"""
"""Much of a build is dpkg waiting for the disk after each file; a build that breaks is thrown away anyway."""


class BaseMissing(Exception):
    """The root is not there, or cannot be built; the message says what to do."""


def find_base() -> Path | None:
    """The base root's folder when it has been built."""
    folder = _base_folder()
    return folder if folder.is_dir() else None


def ensure_base() -> Path:
    """The base root's folder, built when it is missing (one to two minutes). Raises BaseMissing."""
    with _build_lock():
        return find_base() or _build(_base_folder())


def prune() -> None:
    """Remove roots of older recipes. Only while no host of this checkout runs: it may stand on one."""
    for folder in CACHE.glob("base-*"):
        if folder != _base_folder():
            shutil.rmtree(folder, ignore_errors=True)


def debian_mirror() -> str:
    """The Debian mirror apt is set to. Raises BaseMissing when there is none."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for line in (line for file in files if file.is_file() for line in file.read_text().splitlines()):
        if line.startswith(("URIs:", "deb ")):
            for word in line.split():
                if re.fullmatch(r"https?://.*/debian/?", word):
                    return word
    raise BaseMissing("apt has no Debian mirror set (a line with .../debian in its sources): hosts cannot be built")


def _base_folder() -> Path:
    return CACHE / f"base-{_digest(SUITE, *_PACKAGES, _INSTALL, _CONFIGURE, _DPKG, _SKEW.read_text())}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _build(folder: Path) -> Path:
    started = time.monotonic()
    print(f"hosts: building {folder.name}", file=sys.stderr, flush=True)
    for left in CACHE.glob("new-*"):
        shutil.rmtree(left)
    new = CACHE / f"new-{folder.name}"
    new.mkdir(parents=True)
    try:
        _bootstrap(new)
        new.rename(folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    print(f"hosts: {folder.name} built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return folder


def _bootstrap(folder: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise BaseMissing("debootstrap is not installed; on Debian: apt-get install debootstrap")
    settings = folder / "etc/dpkg/dpkg.cfg.d/test-hosts"
    settings.parent.mkdir(parents=True)
    settings.write_text(_DPKG)
    packages = CACHE / "packages"
    (packages / "partial").mkdir(parents=True, exist_ok=True)
    mirror, target = debian_mirror(), os.fspath(folder)
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", f"--cache-dir={packages}"]
    if _KEYRING.exists():
        command.append(f"--keyring={_KEYRING}")
    _run_apart([*command, SUITE, target, mirror])
    shutil.copy(_SKEW, folder / "usr/local/lib/skew.c")
    # apt for the rest: faster than debootstrap, and some packages cannot be configured by that.
    (folder / "etc/apt/sources.list").write_text(f"deb {mirror} {SUITE} main\n")
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copyfile(Path("/") / name, folder / name)
    keep = 'mount --bind "$1" "$2/var/cache/apt/archives"; shift; exec chroot "$@"'
    inside = ["sh", "-c", keep, "sh", os.fspath(packages), target, "/bin/sh", "-c"]
    _run_apart([*inside, _INSTALL, "sh", *_PACKAGES])
    _run_apart(["chroot", target, "/bin/sh", "-c", _CONFIGURE])


def _run_apart(command: list[str]) -> None:
    """Run a building step in mount and PID namespaces of its own: what it mounts or starts ends with it."""
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--", *command]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    done = subprocess.run(
        apart, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise BaseMissing(f"building the hosts' root failed: {command[0]} ended with {done.returncode}\n{tail}")


@contextmanager
def _build_lock() -> Iterator[None]:
    """One build at a time on this checkout. Raises BaseMissing when another one does not end."""
    CACHE.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    with open(CACHE / "build.lock", "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BaseMissing(f"another build has held {lock.name} for {_LOCK_TIMEOUT_S:.0f} s") from None
                time.sleep(0.5)
        yield
