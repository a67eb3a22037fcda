"""Files that make a member run: for each manager what it starts it from, with the settings in one place only.

A flag beats a variable, and a config file beats both, so a service has exactly one of them: an environment file or a
config file under systemd, arguments everywhere else.
"""

from __future__ import annotations

import enum
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager
from etcdops.remote.session import Ownership
from etcdops.rendering import places
from etcdops.rendering.config_file import config_lines
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.member import MemberConfig
from etcdops.rendering.render import render

_PLAIN = Ownership(0o644, "root", "root")
_SCRIPT = Ownership(0o755, "root", "root")
_ROOT = "root"


class SettingsIn(enum.Enum):
    """Where a systemd service has its settings."""

    ENVIRONMENT_FILE = "environment file"
    CONFIG_FILE = "config file"


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that must be there before the member starts."""

    path: str
    ownership: Ownership


def member_files(
    member: MemberConfig, manager: Manager, *, settings_in: SettingsIn = SettingsIn.ENVIRONMENT_FILE
) -> tuple[RenderedFile, ...]:
    """Everything to install on the member's host so that `manager` runs it.

    Args: settings_in - for systemd; the other managers give the member its settings as arguments.
    Raises: UsageError - a value that a format cannot express, or a static pod.
    """
    if manager is Manager.SYSTEMD:
        return _systemd(member, settings_in)
    if manager is Manager.KUBELET:
        raise UsageError(
            f"{member.name} is a static pod: whoever made its manifest changes it, such as kubeadm",
            hint="etcdops looks at such clusters, and saves and restores their data",
        )
    return _FILES[manager](member)


def member_directories(member: MemberConfig, manager: Manager) -> tuple[Directory, ...]:
    """Where the member keeps its data, open to nobody else. In a container it is root, without root's powers.

    supervisord refuses a program whose log has no folder to be in.
    """
    owner = (_ROOT, _ROOT) if manager in _CONTAINERS else (member.user, member.group)
    data = tuple(Directory(path, Ownership(0o700, *owner)) for path in _written(member))
    logs = Directory(places.LOGS, Ownership(0o755, _ROOT, _ROOT))
    return (*data, logs) if manager is Manager.SUPERVISORD else data


def environment_file(member: MemberConfig, path: str = "") -> RenderedFile:
    """The settings as variables. Args: path - such as CentOS's /etc/etcd/etcd.conf; by default Debian's."""
    return _file(path or places.environment_file(member.service), "etcd/etcd.env", member=member)


def config_file(member: MemberConfig, path: str = "") -> RenderedFile:
    """The settings as etcd's `--config-file`. Raises: UsageError - one that has no place in it."""
    lines = config_lines(member.flags, member.version)
    return _file(path or places.config_file(member.service), "etcd/etcd.conf.yml", member=member, lines=lines)


def drop_in(member: MemberConfig, *, environment: str = "") -> RenderedFile:
    """What a member needs beside a unit that somebody else wrote. Args: environment - path of its variables."""
    path = places.drop_in(member.service, "etcdops")
    return _file(path, "systemd/drop-in.conf", member=member, environment_file=environment)


def compose_file(member: MemberConfig) -> RenderedFile:
    """The member as a service of docker compose."""
    return _file(
        places.compose_file(member.service),
        "container/compose.yml",
        member=member,
        volumes=_volumes(member),
        entrypoint=_entrypoint(member),
    )


def _systemd(member: MemberConfig, settings_in: SettingsIn) -> tuple[RenderedFile, ...]:
    by_file = settings_in is SettingsIn.CONFIG_FILE
    settings = config_file(member) if by_file else environment_file(member)
    used = [*_written(member), *member.certificate_folders]
    unit = _file(
        places.unit(member.service),
        "systemd/etcd.service",
        member=member,
        config_file=settings.path if by_file else "",
        environment_file="" if by_file else settings.path,
        written=_written(member),
        private_tmp=not _any_below(used, "/tmp", "/var/tmp"),  # noqa: S108  # what the unit hides
        protect_home=not _any_below([*used, member.program], "/home", "/root", "/run/user"),
    )
    return settings, unit


def _container(engine: str) -> Callable[[MemberConfig], tuple[RenderedFile, ...]]:
    def files(member: MemberConfig) -> tuple[RenderedFile, ...]:
        arguments = _file(
            places.container_arguments(member.service),
            "container/arguments",
            member=member,
            engine=engine,
            volumes=_volumes(member),
            entrypoint=_entrypoint(member),
        )
        return (arguments,)

    return files


def _supervise(member: MemberConfig) -> tuple[RenderedFile, ...]:
    name = member.service
    return (
        _file(places.supervise_run(name), "supervise/run", _SCRIPT, member=member),
        _file(places.supervise_log_run(name), "supervise/log-run", _SCRIPT, log_directory=places.log_directory(name)),
    )


def _supervisord(member: MemberConfig) -> tuple[RenderedFile, ...]:
    path = places.supervisord_program(member.service)
    log = places.log_file(member.service)
    return (_file(path, "supervisord/program.conf", member=member, log_file=log),)


def _process(member: MemberConfig) -> tuple[RenderedFile, ...]:
    log = places.log_file(member.service)
    return (
        _file(places.run_script(member.service), "process/run", _SCRIPT, member=member),
        _file(places.log_rotation(member.service), "logrotate/etcd", log_file=log),
    )


_FILES: Mapping[Manager, Callable[[MemberConfig], tuple[RenderedFile, ...]]] = {
    Manager.DOCKER: _container("docker"),
    Manager.PODMAN: _container("podman"),
    Manager.SUPERVISE: _supervise,
    Manager.SUPERVISORD: _supervisord,
    Manager.PROCESS: _process,
}
_CONTAINERS = (Manager.DOCKER, Manager.PODMAN)


def _file(path: str, template: str, ownership: Ownership = _PLAIN, **values: object) -> RenderedFile:
    return RenderedFile(path, render(template, **values).encode(), ownership)


def _written(member: MemberConfig) -> list[str]:
    return [member.data_dir, *([member.wal_dir] if member.wal_dir else [])]


def _volumes(member: MemberConfig) -> list[str]:
    """Everything at the same path inside and outside, so that settings are the same in both."""
    mounts = [(path, "Z") for path in _written(member)]
    mounts += [(folder, "ro,Z") for folder in member.certificate_folders]
    for path, _ in mounts:
        if ":" in path:
            raise UsageError(
                f"{path!r} cannot be mounted into a container: a colon ends a path there",
                hint="choose another directory in the inventory",
            )
    return [f"{path}:{path}:{options}" for path, options in mounts]


def _entrypoint(member: MemberConfig) -> str:
    """Found along the image's own PATH: images have it in different places."""
    return posixpath.basename(member.program)


def _any_below(paths: list[str], *folders: str) -> bool:
    return any(posixpath.commonpath([path, folder]) == folder for path in paths for folder in folders)
