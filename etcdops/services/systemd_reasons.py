"""Why a unit is in the state it is in: systemd's words and numbers made readable, each with what to do about it.

Source: systemd src/basic/exit-status.h, src/core/service.h (ServiceResult); man systemd.exec, PROCESS EXIT CODES.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from etcdops.services.port import ServiceStatus

_STEPS = {
    200: ("CHDIR", "its WorkingDirectory cannot be entered", "make the directory, and let the unit's user into it"),
    202: ("FDS", "its file descriptors cannot be set up", "see the journal"),
    203: ("EXEC", "its program cannot be run", "see that ExecStart= exists, is executable and made for this machine"),
    204: ("MEMORY", "there is no memory to start it", "free memory on the host"),
    205: ("LIMITS", "a limit cannot be set", "lower LimitNOFILE= and the like to what the host allows"),
    206: ("OOM_ADJUST", "OOMScoreAdjust= cannot be set", "leave it out"),
    208: ("STDIN", "its input cannot be set up", "correct StandardInput="),
    209: ("STDOUT", "its output cannot be set up", "correct StandardOutput=: the file and its folder must exist"),
    210: ("CHROOT", "RootDirectory= cannot be entered", "correct RootDirectory="),
    214: ("SETSCHEDULER", "its scheduling cannot be set", "leave CPUSchedulingPolicy= out"),
    216: ("GROUP", "its group does not exist or cannot be taken on", "make the group of Group="),
    217: ("USER", "its user does not exist or cannot be taken on", "make the user of User="),
    218: ("CAPABILITIES", "its capabilities cannot be set", "correct AmbientCapabilities= and the like"),
    219: ("CGROUP", "its control group cannot be set up", "see the journal"),
    222: ("STDERR", "its error output cannot be set up", "correct StandardError="),
    225: ("NETWORK", "its network namespace cannot be set up", "leave PrivateNetwork= out"),
    226: ("NAMESPACE", "its view of the file system cannot be set up", "every path of ReadWritePaths= must exist"),
    228: ("SECCOMP", "its system call filter cannot be set up", "leave SystemCallFilter= out"),
    233: ("RUNTIME_DIRECTORY", "RuntimeDirectory= cannot be made", "see the journal"),
    238: ("STATE_DIRECTORY", "StateDirectory= cannot be made", "see who owns /var/lib/<name> now"),
    240: ("LOGS_DIRECTORY", "LogsDirectory= cannot be made", "see who owns /var/log/<name> now"),
    241: ("CONFIGURATION_DIRECTORY", "ConfigurationDirectory= cannot be made", "see who owns /etc/<name> now"),
}
_RESULTS = {
    "timeout": ("it was not ready, or did not end, within its time", "see its log for what it waits for"),
    "watchdog": ("it did not answer systemd's watchdog", "see its log; a slow disk or no memory can cause it"),
    "start-limit-hit": (
        "it ended so often that systemd no longer starts it",
        "its log tells why it ended the first time; starting it again clears the count",
    ),
    "oom-kill": ("the kernel killed it: out of memory", "give the host or MemoryMax= more memory"),
    "resources": (
        "systemd could not start it for lack of something",
        "an EnvironmentFile= that is missing is the usual cause; the journal names it",
    ),
    "protocol": ("it ended without telling systemd that it was ready", "its log tells why"),
    "core-dump": ("it crashed", "see `coredumpctl info` and its log"),
    "exec-condition": ("its ExecCondition= said no", "see the unit"),
}


def explain(shown: Mapping[str, str]) -> str:
    """One line from the properties of `systemctl show`; empty where nothing is wrong."""
    if shown["LoadState"] == "masked":
        return "it is masked: systemd was told never to start it"
    if shown["ActiveState"] == "deactivating":
        return "it is being stopped"
    result, status, code = shown["Result"], int(shown["ExecMainStatus"] or 0), shown["ExecMainCode"]
    again = "; systemd starts it again" if shown["SubState"] == "auto-restart" else ""
    if result in ("", "success"):
        return ""
    meaning = _RESULTS[result][0] if result in _RESULTS else ""
    how = _ended(status, code)
    return "; ".join(filter(None, (meaning, how))) + again


def _ended(status: int, code: str) -> str:
    """ExecMainCode is the kernel's si_code: 1 exited, 2 killed, 3 dumped core."""
    if code in ("2", "3"):
        return f"killed by signal {_signal(status)}"
    if status in _STEPS:
        step, meaning, _ = _STEPS[status]
        return f"{meaning} (status={status}/{step})"
    return f"exit status {status}" if status else ""


def next_step(found: ServiceStatus) -> str:
    """What to do, from the reason that `explain` gave."""
    for status, (step, _, hint) in _STEPS.items():
        if f"status={status}/{step}" in found.reason:
            return hint
    for meaning, hint in _RESULTS.values():
        if meaning in found.reason:
            return hint
    return "correct what its log says, then start it again"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)
