"""An engine on a host: unpacked into a folder of its own, and linked to when it is to be the one that starts.

    /opt/etcdops/etcd-3.5.16-1f0c2a9b/{etcd,etcdctl,etcdutl}
    /usr/local/bin/etcd -> there

`put` changes nothing for a member that runs; `switch` decides what the next start runs.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from etcdops.errors import EtcdopsError
from etcdops.inventory.model import Engine, EngineKind
from etcdops.playbooks.rollout.engine_pack import EnginePack
from etcdops.remote.command import ROOT, Command, script
from etcdops.remote.session import Ownership, Session
from etcdops.rendering.member import NODE_PROGRAM, PROGRAM

FOLDER = "/opt/etcdops"
UPLOAD_TIMEOUT_S = 900.0
PACKAGE_TIMEOUT_S = 600.0
_UNPACK_TIMEOUT_S = 120.0

_UNPACK = """
set -e
folder=$1 archive=$2
rm -rf -- "$folder.part" "$folder"
mkdir -p -- "$folder.part"
tar -xzf "$archive" -C "$folder.part"
chown -R root:root "$folder.part"
sync -f -- "$folder.part" 2>/dev/null || sync
mv -- "$folder.part" "$folder"
rm -f -- "$archive"
"""
_SWITCH = """
set -e
folder=$1; shift
for name; do
    ln -sfn -- "$folder/$name" "/usr/local/bin/.$name.new"
    mv -f -T -- "/usr/local/bin/.$name.new" "/usr/local/bin/$name" 2>/dev/null ||
        mv -f -- "/usr/local/bin/.$name.new" "/usr/local/bin/$name"
done
"""
_SWITCHED = """
folder=$1; shift
for name; do [ "$(readlink -- "/usr/local/bin/$name")" = "$folder/$name" ] || exit 1; done
"""
_PACKAGES = """
package=$1
if command -v apt-get >/dev/null; then
    # Debian's packages start what they bring; a member of nobody's cluster would take the ports.
    if command -v systemctl >/dev/null; then systemctl mask --runtime --quiet etcd.service; fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends -- "$package"
    status=$?
    if command -v systemctl >/dev/null; then systemctl unmask --runtime --quiet etcd.service; fi
    exit $status
elif command -v dnf >/dev/null; then exec dnf -q -y install "$package"
elif command -v yum >/dev/null; then exec yum -q -y install "$package"
elif command -v apk >/dev/null; then exec apk add "$package"
elif command -v zypper >/dev/null; then exec zypper -n -q install "$package"
fi
echo "none of apt-get, dnf, yum, apk, zypper is on this host" >&2
exit 1
"""
_LINK_PACKAGED = """
for name in etcd etcdctl etcdutl; do
    [ -e "/usr/local/bin/$name" ] && [ ! -L "/usr/local/bin/$name" ] && continue
    for folder in /usr/bin /usr/sbin /bin /opt/bin; do
        [ -x "$folder/$name" ] || continue
        ln -sfn -- "$folder/$name" "/usr/local/bin/$name"
        break
    done
done
:
"""
_VERSION = 'exec "$1" --version'


@dataclass(frozen=True, slots=True)
class EngineOnHost:
    """How one host gets one engine."""

    session: Session
    engine: Engine
    pack: EnginePack | None

    @property
    def program(self) -> str:
        return NODE_PROGRAM if self.engine.kind is EngineKind.NODE else PROGRAM

    @property
    def folder(self) -> str:
        """Where the pack is unpacked."""
        return f"{FOLDER}/{self.pack.name}" if self.pack is not None else ""

    async def is_there(self) -> bool:
        """Whether `put` has nothing to do."""
        if self.pack is not None:
            return await self.session.stat(self.folder, user=ROOT) is not None
        return await self.version() is not None

    async def put(self) -> None:
        """Copy and unpack it, or install its package. Safe to repeat.

        Raises: EtcdopsError - the host has no such package, no room, or no tar; nothing was linked.
        """
        if self.pack is None:
            await self._install_package()
            return
        archive = f"{FOLDER}/{self.pack.name}.tar.gz"
        await self._run(script('mkdir -p -m 0755 -- "$1"', FOLDER, user=ROOT), "no folder for it can be made")
        await self.session.upload(
            self.pack.path, archive, Ownership(0o600, ROOT, ROOT), user=ROOT, timeout_s=UPLOAD_TIMEOUT_S
        )
        unpack = script(_UNPACK, self.folder, archive, user=ROOT)  # whose content the upload has compared
        await self._run(unpack, "it cannot be unpacked", timeout_s=_UNPACK_TIMEOUT_S)

    async def is_switched(self) -> bool:
        """Whether the next start runs this one."""
        if self.pack is None:
            return await self.version() is not None
        asked = script(_SWITCHED, self.folder, *self.pack.programs, user=ROOT)
        return (await self.session.run(asked, check=False)).ok

    async def switch(self) -> None:
        """Let the next start run this one. Safe to repeat."""
        if self.pack is not None:
            switch = script(_SWITCH, self.folder, *self.pack.programs, user=ROOT)
        else:
            switch = script(_LINK_PACKAGED, user=ROOT)
        await self._run(switch, "it cannot be linked in /usr/local/bin")

    async def version(self) -> str | None:
        """What is in its place says of itself; None: there is nothing that can be run."""
        result = await self.session.run(script(_VERSION, self.program, user=ROOT), check=False)
        if not result.ok:
            return None
        first = result.text.partition("\n")[0]
        return first.rpartition(":")[2].strip()

    async def require_version(self) -> str:
        """What was installed is what the inventory asks for. Raises: EtcdopsError."""
        found = await self.version()
        host = self.session.host
        if found is None:
            raise EtcdopsError(
                f"{host}: {self.program} does not run",
                hint="name engine.source in the inventory, or see why on the host",
            )
        wanted = self.engine.version
        if self.engine.kind is EngineKind.ETCD and not f"{found}.".startswith(f"{wanted}."):
            raise EtcdopsError(
                f"{host}: {self.program} is etcd {found}, and the inventory asks for {wanted}",
                hint="correct engine.version, or engine.source that should bring it",
            )
        return found

    async def _install_package(self) -> None:
        package = self.engine.source.package
        if not package:
            await self.switch()  # it is on the host already, perhaps elsewhere
            return
        install = script(_PACKAGES, package, user=ROOT)
        await self._run(install, f"the package {package} cannot be installed", timeout_s=PACKAGE_TIMEOUT_S)

    async def _run(self, command: Command, what: str, *, timeout_s: float = 30.0) -> None:
        result = await self.session.run(command, check=False, timeout_s=timeout_s)
        if not result.ok:
            said = result.stderr.decode(errors="replace").strip() or result.text
            raise EtcdopsError(
                f"{self.session.host}: {describe(self.engine)}: {what}",
                cause="\n".join(said.splitlines()[-5:]),
                hint=_hint(said),
            )


def describe(engine: Engine) -> str:
    """`etcd 3.5.16`, for people."""
    return "the bundled node" if engine.kind is EngineKind.NODE else f"etcd {engine.version}"


def _hint(said: str) -> str:
    if "No space left" in said:
        return f"free some space on the host: {shlex.join(['df', '-h', FOLDER])}"
    if "Unable to locate package" in said or "No match" in said:
        return "the host's repositories have no such package; give an archive instead (engine.source.archive)"
    return "see the host's own message above"
