"""A terminal that may go away: a window is closed, an SSH connection breaks, while the console is drawing."""

from __future__ import annotations

from typing import IO, Any, cast

from textual.drivers.linux_driver import LinuxDriver


class LastingOutput:
    """A terminal's output that takes everything, also when nobody is there any more.

    Textual writes in a thread of its own behind a bounded queue. An error ends that thread, and with it whoever waits
    for room in the queue: the console would hang for ever, without a terminal, deaf to every signal.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except (OSError, ValueError):  # ValueError: it is closed
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except (OSError, ValueError):
            return

    def __getattr__(self, name: str) -> Any:  # whatever else a file has, such as `fileno`
        return getattr(self._file, name)


class LastingDriver(LinuxDriver):
    """Textual's driver of terminals; it outlives its terminal, so that the console can end in order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = cast("Any", LastingOutput(cast("IO[str]", self._file)))
