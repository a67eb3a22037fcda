"""stderr and the exit code: the one place where a run ends, well or badly.

stdout carries data only. Everything said to a person goes through here: notes, warnings, and errors in one shape
(`error <code>: ...`, `cause: ...`, `next: ...`).
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable

import click

from etcdops.errors import EtcdopsError, ExitCode, NotConfirmed, UsageError
from etcdops.state_folder import state_folder


def note(text: str) -> None:
    """Say something to the person at the terminal; silent under --quiet is the caller's business."""
    _say(text)


def warn(text: str) -> None:
    _say(f"warning: {text}")


def report(error: EtcdopsError) -> None:
    """Print an error in its fixed shape."""
    for line in error.lines():
        _say(line)


def _say(line: str) -> None:
    _put(line + "\n")


def _put(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody reads stderr any more; the exit code still tells


def clear_line() -> None:
    """On a terminal, take away what a progress line and the ^C of an interruption left of the current line."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        _put("\r\x1b[K")


def run(command: Callable[[], object]) -> int:
    """Run a command and turn however it ends into an exit code.

    A returned integer is the code; None and everything else is 0. Known errors are printed in their shape; unknown ones
    go with their traceback into a file whose path is printed.
    """
    try:
        result = command()
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt) as end:
        return _aborted(end)
    except click.ClickException as error:
        return _usage(error)
    except EtcdopsError as error:
        report(error)
        return int(error.exit_code)
    except BrokenPipeError:
        return int(ExitCode.OK)  # `etcdops ... | head`: the reader has what it wanted
    except Exception as error:  # noqa: BLE001 - the last resort: whatever is left is a defect and is recorded as one
        return _unexpected(error)
    return int(result) if isinstance(result, int) else int(ExitCode.OK)


def _aborted(end: BaseException) -> int:
    if isinstance(end.__cause__, EOFError):
        error = NotConfirmed("an answer was needed and there is nobody to ask", hint="give the answer as a flag")
        report(error)
        return int(error.exit_code)
    if isinstance(end, click.Abort):
        _put("\n" if sys.stderr.isatty() else "")  # a question stands there: it stays readable
    else:
        clear_line()
    _say("interrupted")
    return int(ExitCode.INTERRUPTED)


def _usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _say(error.format_message())  # a group without its command: the help is the answer
        return int(ExitCode.USAGE)
    context = getattr(error, "ctx", None)
    message = error.format_message()
    # Our errors start small, as those of etcd do.
    message = message[:1].lower() + message[1:].removesuffix(".")
    report(UsageError(message, hint=f"{context.command_path} --help" if context else ""))
    return int(ExitCode.USAGE)


def let_go() -> None:
    """What cannot be written any more goes nowhere. Call it last: Python would end with 120 instead of our exit code.

    A pipe's reader may have left, a terminal may be gone.
    """
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)


def _unexpected(error: Exception) -> int:
    summary = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if os.environ.get("ETCDOPS_DEBUG"):
        _say(traceback.format_exc().rstrip())
    shown = EtcdopsError(
        f"etcdops failed in a way nobody foresaw: {summary}",
        cause=_write_crash_file(),
        hint="ETCDOPS_DEBUG=1 prints the traceback here; please report it with that file",
    )
    shown.code = "unexpected"
    report(shown)
    return int(ExitCode.FAILED)


def _write_crash_file() -> str:
    folder = state_folder()
    path = folder / f"crash-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Only for its owner: a traceback may quote keys. Arguments are left out: they may hold a password.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
    except OSError as error:
        return f"the traceback could not be saved: {error}"
    return f"the traceback is in {path}"
