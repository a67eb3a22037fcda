"""Screen 7: the logs of all members as one, and what they say is wrong."""

from __future__ import annotations

import dataclasses

from textual import on
from textual.app import ComposeResult
from textual.containers import Container

from etcdops.numbers import show_count
from etcdops.tui.actions import bindings
from etcdops.tui.model.filtering import parse_filter
from etcdops.tui.model.log_findings import (
    LogFindings,
    finding_blocks,
    finding_page,
    findings_title,
    nothing_found,
    trouble_page,
    unexplained_page,
)
from etcdops.tui.model.log_lines import RowStyle, line_page, log_row, show_moment
from etcdops.tui.model.log_view import LogView, parse_moment, place_at, place_of
from etcdops.tui.model.logs import LogLine
from etcdops.tui.model.text import Line, Span, Tone, clip_words
from etcdops.tui.screens.base import CHROME_ROWS, ConsoleScreen
from etcdops.tui.screens.dialogs import Prompt, Reading
from etcdops.tui.widgets.chrome import hint
from etcdops.tui.widgets.lists import Block, LinesPanel, ListPanel, VTable

SIDE_BY_SIDE = 160
"""From this many columns on the findings stand beside the lines, not below."""
FINDINGS_CELLS = 60


class LogsScreen(ConsoleScreen, inherit_bindings=False):
    """The lines, and the findings they prove."""

    NAME = "logs"
    TITLE_SHOWN = "Logs"
    BINDINGS = bindings("logs")

    DEFAULT_CSS = """
    LogsScreen #panes { layout: vertical; height: 1fr; }
    LogsScreen.-beside #panes { layout: horizontal; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._view = LogView()
        self._lines: list[LogLine] = []
        """All lines as of the last look at the book; they stand still while the console is paused."""
        self._shown: list[LogLine] = []
        self._style = RowStyle((), 0, False, self._view)
        self._found = LogFindings()
        self._follows = True
        self._alone = ""
        self._evidence: dict[str, int] = {}
        """How many lines of a finding were jumped to, by slug."""

    def compose_body(self) -> ComposeResult:
        with Container(id="panes"):
            yield VTable(lambda: len(self._shown) or 1, self._row, id="lines")
            yield LinesPanel(id="findings")

    def on_mount(self) -> None:
        self._table.mark_when_blurred = True
        super().on_mount()
        self._table.focus()

    @property
    def _table(self) -> VTable:
        return self.query_one("#lines", VTable)

    @property
    def _newest_s(self) -> float:
        return self._lines[-1].at if self._lines else self.console.shown_wall_s

    def _row(self, index: int, cells: int) -> Line:
        if not self._shown:
            return (Span(clip_words(self._nothing(), cells), Tone.DIM),)
        return log_row(self._shown[index], self._style, cells)

    def _nothing(self) -> str:
        """Why there is no line to show."""
        if self._lines:
            return "no line matches; Esc shows all"
        feed = self.console.logs.feed
        return feed.reason or f"no line came yet from {', '.join(source.where for source in feed.sources())}"

    # Drawing

    def update(self) -> None:
        if not self.console.paused:
            self._look()
        self._share()
        self._choose()
        self._update_findings()

    def _look(self) -> None:
        """Take what the book has now. While the console is paused, what was taken last stands still."""
        self._lines = list(self.console.logs.book.lines)
        self._found = self.state.logged

    def _share(self) -> None:
        """Give both panes their place."""
        beside = self.size.width >= SIDE_BY_SIDE
        self.set_class(beside, "-beside")
        rows = self.size.height - CHROME_ROWS
        lines, findings = self._table, self.query_one("#findings", LinesPanel)
        wanted = max(1, 2 * self._found.count)
        height = 2 + min(wanted, max(2, rows // 3 - 2))
        lines.display = self._alone != "findings"
        findings.display = self._alone != "lines"
        findings.styles.width = "1fr" if not beside or self._alone else FINDINGS_CELLS
        findings.styles.height = "1fr" if beside or self._alone else height

    def _choose(self) -> None:
        """Make the shown lines anew; the cursor stays on its line, or at the end."""
        table = self._table
        before = self._line_at_cursor()
        distance = table.cursor - table.top
        self._shown = self._view.chosen(self._lines)
        self._style = RowStyle.of(self._shown, self.console.logs.book.names, self._view)
        if self._follows or before is None:
            table.move_to(len(self._shown) - 1, quiet=True)
        else:
            place = place_of(self._shown, before)
            table.top = max(0, place - distance)
            table.move_to(place, quiet=True)
        self._label_lines()
        table.refresh()

    def _label_lines(self) -> None:
        reader, shown = self.console.logs, len(self._shown)
        if reader.feed.reason:
            self._table.label((Span("Logs", Tone.TITLE),))
            return
        title = [Span("Logs", Tone.TITLE), Span(f" {self._amount()}")]
        note = self._view.note(reader.book.names)
        if note:
            title.append(Span(f" · {note}", Tone.ACCENT))
        if self._follows and not self.console.paused:
            keys = "following · f holds · ▸ Enter explains"
        else:
            below = shown - 1 - self._table.cursor
            keys = f"held · {show_count(below)} below · f follows · ▸ Enter explains"
        self._table.label(tuple(title), hint(keys))

    def _amount(self) -> str:
        shown, known = len(self._shown), len(self._lines)
        lines = "line" if known == 1 else "lines"
        some = f"{show_count(shown)} of " if shown != known else ""
        return f"{some}{show_count(known)} {lines}"

    def _update_findings(self) -> None:
        panel = self.query_one("#findings", LinesPanel)
        found, book, now = self._found, self.console.logs.book, self.console.shown_wall_s
        keys = "Enter explains · e its lines" if found.found else "Enter explains" if found.count else ""
        panel.label(findings_title(found), hint(keys))

        def source(cells: int, rows: int, cursor: int) -> list[Block]:
            if not found.count:
                return [(nothing_found(book.taken, len(book.names)),)]
            return finding_blocks(found, cells, rows, cursor, now)

        panel.show(source)

    # The lines

    def _line_at_cursor(self) -> LogLine | None:
        cursor = self._table.cursor
        return self._shown[cursor] if cursor < len(self._shown) else None

    @on(ListPanel.Moved, "#lines")
    def moved(self) -> None:
        """Whoever goes up wants to read; whoever reaches the end wants to see what comes."""
        self._follows = self._table.cursor >= len(self._shown) - 1
        self._label_lines()

    @on(ListPanel.Opened, "#lines")
    def explain_line(self) -> None:
        line = self._line_at_cursor()
        if line is None:
            return
        book = self.console.logs.book
        name, offset_s = book.names[line.source], book.offset_s(line.source)
        language = self.state.language
        self.app.push_screen(
            Reading(f"Line of {name}", lambda cells: line_page(line, name, offset_s, cells, language=language))
        )

    def _go_to(self, place: int) -> None:
        self._follows = False
        table = self._table
        table.top = max(0, place - table.visible_rows // 2)
        table.move_to(place)
        table.refresh()
        table.focus()
        self._label_lines()

    def action_filter(self) -> None:
        before = self._view

        def typed(text: str) -> None:
            self._narrow(dataclasses.replace(self._view, filter=parse_filter(text)))

        def done(text: str | None) -> None:
            typed(before.filter.text if text is None else text)

        note = "text, !text without it, ~regex · Enter keeps it, Esc drops the change"
        self.console.push_screen(Prompt("filter", before.filter.text, note, typed), done)

    def _narrow(self, view: LogView) -> None:
        self._view = view
        self._choose()

    def action_level(self) -> None:
        self._narrow(self._view.next_level())

    def action_member(self) -> None:
        self._narrow(self._view.next_source(len(self.console.logs.book.names)))

    def action_problems(self) -> None:
        self._narrow(dataclasses.replace(self._view, problems_only=not self._view.problems_only))

    def action_context(self) -> None:
        if not self._view.narrowed:
            self.console.say("nothing is filtered: every line is shown already; / filters")
            return
        self._narrow(self._view.next_context())

    def action_match(self, step: int) -> None:
        """To the next or the last line that was asked for, or that is of a known cause."""
        wanted = self._view.matches if self._view.narrowed else lambda line: bool(line.slug)
        place = self._table.cursor + step
        while 0 <= place < len(self._shown):
            if wanted(self._shown[place]):
                self._go_to(place)
                return
            place += step
        self.console.say("no further line that matches" if self._view.narrowed else "no further line of a known cause")

    def action_time(self) -> None:
        def done(text: str | None) -> None:
            if not text:
                return
            moment = parse_moment(text, self._newest_s)
            if moment is None:
                self.console.warn(f"{text} is no time: 14:05, 14:05:30, 11-21 14:05, 5m (ago)")
            elif self._shown:
                self._go_to(place_at(self._shown, moment))
                if moment < self._shown[0].at:
                    first = show_moment(self._shown[0].at, dated=True, exact=False)
                    self.console.say(f"the oldest line that is kept is of {first}; etcdops diagnose reads whole logs")

        note = "14:05, 14:05:30, 11-21 14:05, or 5m: so long before the newest line"
        self.console.push_screen(Prompt("go to time", "", note), done)

    def action_follow(self) -> None:
        self._follows = not self._follows
        self._choose()

    # The findings

    @on(ListPanel.Opened, "#findings")
    def explain_finding(self) -> None:
        found, cursor = self._found, self.query_one("#findings", LinesPanel).cursor
        troubles, findings = len(found.troubles), len(found.found)
        if cursor < troubles:
            trouble = found.troubles[cursor]
            self.app.push_screen(Reading(f"Log of {trouble.source}", lambda cells: trouble_page(trouble, cells)))
        elif cursor < troubles + findings:
            one = found.found[cursor - troubles]
            self.app.push_screen(Reading(one.finding.slug, lambda cells: finding_page(one, cells)))
        elif cursor < found.count:
            evidence = found.unexplained[cursor - troubles - findings]
            self.app.push_screen(Reading("Last words", lambda cells: unexplained_page(evidence, cells)))

    def action_evidence(self) -> None:
        """To the next of the lines that prove the finding under the cursor."""
        found, cursor = self._found, self.query_one("#findings", LinesPanel).cursor - len(self._found.troubles)
        if 0 <= cursor < len(found.found):
            finding = found.found[cursor].finding
            name, proofs = finding.slug, finding.evidence
        elif len(found.found) <= cursor < len(found.found) + len(found.unexplained):
            proofs = (found.unexplained[cursor - len(found.found)],)
            name = proofs[0].source
        else:
            self.console.say("no finding is chosen whose lines could be shown")
            return
        index = self.console.logs.book.index
        keys = [(index(proof.source), proof.line) for proof in proofs]
        kept = [line for line in self._lines if line.key in set(keys)]
        if not kept:
            self.console.say("its lines are older than those that are kept here; Enter shows them")
            return
        turn = self._evidence.get(name, 0) % len(kept)
        self._evidence[name] = turn + 1
        wanted = kept[turn]
        if wanted not in self._shown:
            self._narrow(LogView())
        if self._alone == "findings":
            self._alone = ""
            self._share()
        self._go_to(place_of(self._shown, wanted))
        self.console.say(f"{name}: line {turn + 1} of {len(kept)}; e shows the next")

    # Both

    def action_maximize(self) -> None:
        focused = self.focused.id if self.focused else None
        self._alone = "" if self._alone else focused or ""
        self.update()

    def action_copy(self) -> None:
        line = self._line_at_cursor()
        if line is not None:
            self.console.copy(line.raw)

    def action_back(self) -> None:
        if self._view.narrowed or self._alone:
            self._alone = ""
            self._view = LogView()
            self.update()
        elif self.query_one("#findings").has_focus:
            self._table.focus()
        else:
            self.console.action_last_screen()
