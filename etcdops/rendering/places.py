"""Where the files of a member's service lie on a host: what is rendered, and who keeps members running, agree here.

Managers find their own file among those that are installed by these paths.
"""

from __future__ import annotations

UNITS = "/etc/systemd/system"
PROGRAMS = "/etc/supervisor/conf.d"
OWN = "/etc/etcdops"
DEFINITIONS = "/etc/sv"
LOGS = "/var/log/etcdops"


def unit(name: str) -> str:
    """The systemd unit of a service."""
    return f"{UNITS}/{name}.service"


def drop_in(name: str, what: str) -> str:
    """A part of a unit, such as `limits`; systemd reads them in the order of their names."""
    return f"{UNITS}/{name}.service.d/{what}.conf"


def container_arguments(name: str) -> str:
    """What comes after `podman create --name NAME`: options as `--option=value`, the image, the member's arguments.

    Words as a POSIX shell splits and unquotes them, over as many lines as is readable, with `#` comments. No shell
    reads it, so nothing is expanded.
    """
    return f"{OWN}/{name}.container"


def run_script(name: str) -> str:
    """The shell script of the plain process runner, which ends in `exec` of the member."""
    return f"{OWN}/{name}.run"


def supervise_run(name: str) -> str:
    """daemontools' and runit's script, which ends in `exec` of the member."""
    return f"{DEFINITIONS}/{name}/run"


def supervise_log_run(name: str) -> str:
    """The script that takes the member's output: it ends in `exec multilog ... DIRECTORY` or `svlogd ... DIRECTORY`."""
    return f"{DEFINITIONS}/{name}/log/run"


def supervisord_program(name: str) -> str:
    """The file with the section `[program:NAME]`, which names a `stdout_logfile`."""
    return f"{PROGRAMS}/{name}.conf"


def log_file(name: str) -> str:
    """Where the plain process runner sends the member's output."""
    return f"{LOGS}/{name}.log"


def environment_file(name: str) -> str:
    """Variables of a systemd unit, where Debian's packages have them."""
    return f"/etc/default/{name}"


def config_file(name: str) -> str:
    """etcd's `--config-file`."""
    return f"/etc/etcd/{name}.conf.yml"


def compose_file(name: str) -> str:
    """For `docker compose --file`."""
    return f"{OWN}/{name}.compose.yml"


def log_directory(name: str) -> str:
    """Where the log script of daemontools or runit keeps the member's output."""
    return f"{LOGS}/{name}"


def log_rotation(name: str) -> str:
    """logrotate's file for `log_file`."""
    return f"/etc/logrotate.d/{name}"


def rules(name: str) -> str:
    """nftables' rules for a member's ports."""
    return f"{OWN}/{name}.nft"


def rules_script(name: str) -> str:
    """The same for iptables: a script that takes `start` or `stop`."""
    return f"{OWN}/{name}.iptables"


def backup_script(name: str) -> str:
    """Takes one backup, checks it, and only then lets the oldest go."""
    return f"{OWN}/{name}.backup"


def timer(name: str) -> str:
    """A systemd timer, for the unit of the same name."""
    return f"{UNITS}/{name}.timer"


def cron(name: str) -> str:
    """A file of cron's, which passes over names with a dot."""
    return f"/etc/cron.d/{name.replace('.', '_')}"
