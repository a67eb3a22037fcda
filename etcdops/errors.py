"""Every error the console shows, and the exit code each one ends the process with.

    EtcdopsError                     1   the operation failed and changed nothing
    ├── UsageError                   2   a flag, a file or a value cannot be used
    ├── Unreachable                  3   no endpoint answered; trying again may help
    ├── AccessDenied                 4   wrong or missing credentials, or no permission
    ├── Unhealthy                    5   the answer arrived and it is bad news
    ├── ClusterUnsafe                6   refused: the operation would endanger the cluster now
    ├── NotConfirmed                 8   a confirmation was refused, or needed without a terminal
    ├── PartlyApplied                9   some steps were done; the message names them and how to go on
    ├── VerificationFailed          10   everything was done, but the result is not what it should be
    ├── ResultUnknown               11   a write was sent and no answer came: it may or may not be there
    ├── DeadlinePassed             124   `--timeout` passed
    ├── SnapshotCorrupt              1   a snapshot file is damaged
    │   └── NotASnapshot             1   ... or none at all: text, an archive, the file of something else
    └── StartRefused                 1   a member will not start on this data directory or configuration
        └── MemberRemoved            0   ... because it left the cluster for good: no supervisor is to try again

Codes and meanings are stable; `ExitCode` is their only home.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What `etcdops` tells the shell. `status` and friends use UNHEALTHY, scripts branch on the rest."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    ACCESS_DENIED = 4
    UNHEALTHY = 5
    UNSAFE = 6
    CHANGES_PENDING = 7
    NOT_CONFIRMED = 8
    PARTLY_APPLIED = 9
    VERIFICATION_FAILED = 10
    RESULT_UNKNOWN = 11
    DEADLINE_PASSED = 124
    INTERRUPTED = 130


class EtcdopsError(Exception):
    """What happened and to what (`message`), why (`cause`), and the next command or setting to try (`hint`).

    `code` is a stable word for scripts and for looking the error up; it is printed as `error <code>: <message>`.
    """

    exit_code = ExitCode.FAILED
    code = "failed"

    def __init__(self, message: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint

    @property
    def in_one_line(self) -> str:
        """What happened and why."""
        return f"{self.message} ({'; '.join(self.cause.splitlines())})" if self.cause else self.message

    def lines(self) -> list[str]:
        """The error as it is printed: one line each for what, why and what next; empty parts are left out."""
        shown = [f"error {self.code}: {self.message}"]
        if self.cause:
            shown.append(f"cause: {self.cause}")
        if self.hint:
            shown.append(f"next: {self.hint}")
        return shown


class UsageError(EtcdopsError):
    """A flag, a file or a value cannot be used; nothing was tried."""

    exit_code = ExitCode.USAGE
    code = "usage"


class Unreachable(EtcdopsError):
    """No endpoint answered in time, so nothing was changed."""

    exit_code = ExitCode.UNREACHABLE
    code = "unreachable"


class AccessDenied(EtcdopsError):
    """The cluster refused who we are or what we may do."""

    exit_code = ExitCode.ACCESS_DENIED
    code = "access-denied"


class Unhealthy(EtcdopsError):
    """The cluster answered, and its state is not good enough for what was asked."""

    exit_code = ExitCode.UNHEALTHY
    code = "unhealthy"


class ClusterUnsafe(EtcdopsError):
    """Refused: going on now could lose the quorum or data. No confirmation overrides it."""

    exit_code = ExitCode.UNSAFE
    code = "unsafe"


class NotConfirmed(EtcdopsError):
    """The operator said no, or nobody was there to ask; `hint` is the line that says yes."""

    exit_code = ExitCode.NOT_CONFIRMED
    code = "not-confirmed"


class PartlyApplied(EtcdopsError):
    """Some steps were done before one failed; `hint` says how to go on from there."""

    exit_code = ExitCode.PARTLY_APPLIED
    code = "partly-applied"


class VerificationFailed(EtcdopsError):
    """All steps were done and the outcome is wrong; nothing more is touched."""

    exit_code = ExitCode.VERIFICATION_FAILED
    code = "verification-failed"


class ResultUnknown(EtcdopsError):
    """A change was sent and its answer never came: read before writing again."""

    exit_code = ExitCode.RESULT_UNKNOWN
    code = "result-unknown"


class DeadlinePassed(EtcdopsError):
    """The time the caller allowed for the whole operation is over."""

    exit_code = ExitCode.DEADLINE_PASSED
    code = "deadline"


class SnapshotCorrupt(EtcdopsError):
    """A snapshot file is damaged, cut short, or no snapshot at all; it was not used."""

    code = "snapshot-corrupt"


class NotASnapshot(SnapshotCorrupt):
    """A file that was given for a snapshot is of another kind; nothing says that it is damaged."""

    code = "not-a-snapshot"


class StartRefused(EtcdopsError):
    """A member refuses to start rather than harm the data it found."""

    code = "start-refused"


class MemberRemoved(StartRefused):
    """The data is that of a member that was removed. Ends like the removal itself: with status 0, as in etcd."""

    exit_code = ExitCode.OK
    code = "member-removed"
