"""Which options of docker, podman and nerdctl take a value: of the engines, and of their `run` and `create`.

One table for all three: no name takes a value in one of them and none in another.
Source: docker/cli cmd/docker, cli/command/container/opts.go (addFlags), run.go, create.go; containers/podman
cmd/podman/root.go, cmd/podman/common/create.go (DefineCreateFlags), netflags.go, cmd/podman/containers/run.go;
containerd/nerdctl cmd/nerdctl/main.go, cmd/nerdctl/container/container_run.go (setCreateFlags).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from etcdops.errors import UsageError
from etcdops.services.etcd_settings import Placed

HINT = "see its --help: is it misspelt? One that is newer than etcdops: take it out of a copy, and import that"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one command."""

    switches: frozenset[str]
    """They take no value, or one behind `=`."""
    valued: frozenset[str]
    letters: Mapping[str, str]
    """Short names, without the dash, and the long ones they stand for."""
    aliases: Mapping[str, str]

    def read(self, words: Sequence[Placed], command: str) -> tuple[list[Placed], list[Placed]]:
        """As the engines' own parser reads them: nothing after the first other word is an option.

        Returns: (each option as `--long-name=value`, a switch as `=true`; what follows them).
        Raises: UsageError - one is not known, or has no value.
        """
        rest, found = list(words), list[Placed]()
        while rest and rest[0].text.startswith("-") and rest[0].text != "-":
            word = rest.pop(0)
            if word.text == "--":
                break
            for name, value in self._long(word) if word.text.startswith("--") else self._short(word):
                known = self._known(name, word, command)
                if value is None and known not in self.switches:
                    if not rest:
                        raise UsageError(f"{word.where}: {command} {word.text}: its value is missing", hint=HINT)
                    value = rest.pop(0).text
                found.append(Placed(f"--{known}={'true' if value is None else value}", word.where))
        return found, rest

    @staticmethod
    def _long(word: Placed) -> Iterator[tuple[str, str | None]]:
        name, equals, value = word.text[2:].partition("=")
        yield name, value if equals else None

    def _short(self, word: Placed) -> Iterator[tuple[str, str | None]]:
        """`-dit` is three switches; behind a letter that takes one, the rest is its value: `-p2379:2379`."""
        letters = word.text[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            name = self.letters.get(letter, letter)
            if letters and (name not in self.switches or letters.startswith("=")):
                yield name, letters.removeprefix("=")
                return
            yield name, None

    def _known(self, name: str, word: Placed, command: str) -> str:
        known = self.aliases.get(name, name)
        if known not in self.switches and known not in self.valued:
            raise UsageError(
                f"{word.where}: {command} has no option {word.text.partition('=')[0]} that is known here",
                cause="whether the next word is its value cannot be told",
                hint=HINT,
            )
        return known


_SWITCHES_OF_RUN = """
    detach disable-content-trust env-host help http-proxy init interactive no-healthcheck no-hostname no-hosts
    oom-kill-disable passwd privileged publish-all quiet read-only read-only-tmpfs replace rm rmi rootfs sig-proxy
    tls-verify tty unsetenv-all use-api-socket
"""
_VALUED_OF_RUN = """
    add-host annotation arch attach authfile blkio-weight blkio-weight-device cap-add cap-drop cert-dir cgroup-conf
    cgroup-parent cgroupns cgroups chrootdirs cidfile conmon-pidfile cosign-certificate-identity
    cosign-certificate-identity-regexp cosign-certificate-oidc-issuer cosign-certificate-oidc-issuer-regexp
    cosign-key cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus
    cpuset-mems creds decryption-key detach-keys device device-cgroup-rule device-read-bps device-read-iops
    device-write-bps device-write-iops dns dns-option dns-search domainname entrypoint env env-file env-merge expose
    gidmap gpus group-add group-entry health-cmd health-interval health-log-destination health-max-log-count
    health-max-log-size health-on-failure health-retries health-start-interval health-start-period
    health-startup-cmd health-startup-interval health-startup-retries health-startup-success health-startup-timeout
    health-timeout hostname hosts-file hostuser image-volume init-binary init-path io-maxbandwidth io-maxiops ip ip6
    ipc ipfs-address isolation kernel-memory label label-file link link-local-ip log-driver log-opt mac-address
    memory memory-reservation memory-swap memory-swappiness mount name network network-alias oom-score-adj os
    passwd-entry personality pid pidfile pids-limit platform pod pod-id-file preserve-fd preserve-fds publish pull
    rdt-class requires restart retry retry-delay runtime sdnotify seccomp-policy secret security-opt shm-size
    shm-size-systemd signature-policy stop-signal stop-timeout storage-opt subgidname subuidname sysctl systemd
    timeout tmpfs tz uidmap ulimit umask unsetenv user userns uts variant verify volume volume-driver volumes-from
    workdir
"""
_SWITCHES_OF_ENGINES = """
    debug debug-full experimental help insecure-registry kube-hide-dupe noout remote syslog tls tlsverify
    transient-store version
"""
_VALUED_OF_ENGINES = """
    address bridge-ip cdi-spec-dir cdi-spec-dirs cgroup-manager cni-config-dir cni-netconfpath cni-path config
    connection conmon context data-root db-backend default-mounts-file events-backend global-dns global-dns-opts
    global-dns-search hooks-dir host host-gateway-ip hosts-dir identity imagestore log-level module namespace
    network-cmd-path network-config-dir out pull-option root runroot runtime runtime-flag snapshotter ssh
    storage-driver storage-opt tls-ca tls-cert tls-key tlscacert tlscert tlskey tmpdir url userns-remap volumepath
"""
OF_RUN = Options(
    switches=frozenset(_SWITCHES_OF_RUN.split()),
    valued=frozenset(_VALUED_OF_RUN.split()),
    letters={
        "a": "attach", "c": "cpu-shares", "d": "detach", "e": "env", "h": "hostname", "i": "interactive", "l": "label",
        "m": "memory", "p": "publish", "P": "publish-all", "q": "quiet", "t": "tty", "u": "user", "v": "volume",
        "w": "workdir",
    },
    aliases={"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"},
)  # fmt: skip
OF_ENGINE = Options(
    switches=frozenset(_SWITCHES_OF_ENGINES.split()),
    valued=frozenset(_VALUED_OF_ENGINES.split()),
    letters={
        "a": "address", "c": "context", "D": "debug", "H": "host", "l": "log-level", "n": "namespace", "r": "remote",
        "v": "version",
    },
    aliases={},
)  # fmt: skip
"""What stands between the engine and its command. `-c` is docker's context, and podman's connection: both elsewhere."""
