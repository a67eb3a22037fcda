"""Packages and images that hosts install without a network: from `.cache/etcd/<version>/` (`make etcd`)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.hosts.host import Host, HostError
from tests.support.real_etcd import EtcdBinaries

_REPOSITORY: Final = "srv/packages"
_INDEX: Final = """
set -eu
cd /srv/packages
for deb in *.deb; do
    dpkg-deb --field "$deb"
    echo "Filename: ./$deb"
    echo "Size: $(stat --format=%s "$deb")"
    echo "SHA256: $(sha256sum "$deb" | cut -d ' ' -f 1)"
    echo
done >Packages
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list.d/offline.list
apt-get -qq -o APT::Sandbox::User=root update
"""
_IMAGE: Final = """
set -eu
cd /var/tmp/image
mkdir -p tmp var/lib/etcd
# Debian's binaries are linked dynamically: the image brings the host's C library and loader.
ldd usr/local/bin/* | grep -o '/[^ ]*' | grep -v ':$' | sort -u | xargs -I LIBRARY cp -L --parents LIBRARY .
tar -cf ../image.tar .
podman import --quiet --change 'ENTRYPOINT ["/usr/local/bin/etcd"]' --change 'ENV PATH=/usr/local/bin' ../image.tar "$1"
rm -r /var/tmp/image /var/tmp/image.tar
"""


def etcd_packages(binaries: EtcdBinaries) -> list[Path]:
    """Debian's etcd-server and etcd-client of that version. Raises HostError when they are not in the cache."""
    found = sorted((binaries.etcd.parent / "debs").glob("*.deb"))
    if not found:
        raise HostError(f"no packages of etcd {binaries.version} in the cache: `make etcd` fetches them")
    return found


def offer_packages(host: Host, packages: Sequence[Path]) -> None:
    """Make `apt-get install` find these .deb files on the host, without a network. Replaces what was offered before."""
    folder = host.path(_REPOSITORY)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for package in packages:
        shutil.copy(package, folder)
    host.run(["sh", "-c", _INDEX], timeout_s=60)


def load_etcd_image(host: Host, binaries: EtcdBinaries) -> str:
    """Put an image of that etcd (entry point `etcd`, with `etcdctl`) into the host's podman. Returns its name."""
    name = f"localhost/etcd:{binaries.version}"
    work = host.path("var/tmp/image")
    (work / "usr/local/bin").mkdir(parents=True)
    for program in (binaries.etcd, binaries.etcdctl, binaries.etcdutl):
        if program is not None:
            shutil.copy(program, work / "usr/local/bin")
    host.run(["sh", "-c", _IMAGE, "sh", name], timeout_s=120)
    return name
