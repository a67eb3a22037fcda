"""Every key of the console, once: bindings, footer, palette and help are all made from this table.

Full-width variants are bound beside `/ ? ! [ ]`, because that is what these keys send while a Chinese input method is
on.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType

ALWAYS = 80
"""Footer entries from this number on stay when there is little room."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something a key does."""

    name: str
    """Textual's action: the widget, screen or app of `scope` has a method `action_<name>`."""
    keys: tuple[str, ...]
    shown: str
    """The key as footer and help print it."""
    title: str
    """One or two words for the footer."""
    help: str
    """One sentence for help and palette."""
    scope: str
    """"app", a screen's name, "list", or for dialogs "dialog", "reading", "prompt", "editor"."""
    writes: bool = False
    """Changes the cluster: not offered in read-only mode, and refused there with the reason."""
    footer: int = 0
    """> 0: in the footer, smaller numbers further left; from ALWAYS on, others give way to it."""
    palette: bool = True


_SLASH = ("slash", "ideographic_comma", "fullwidth_solidus")
_QUESTION = ("question_mark", "fullwidth_question_mark")
_EXCLAMATION = ("exclamation_mark", "fullwidth_exclamation_mark")
_LEFT_BRACKET = ("left_square_bracket", "left_black_lenticular_bracket", "fullwidth_left_square_bracket")
_RIGHT_BRACKET = ("right_square_bracket", "right_black_lenticular_bracket", "fullwidth_right_square_bracket")


def _of_members_table(screen: str, *, zoom_footer: int = 0) -> tuple[Action, ...]:
    """What the members table does, on every screen that has one."""
    zoom_out_footer = zoom_footer + 1 if zoom_footer else 0
    return (
        Action("filter", _SLASH, "/", "filter", "Show only members that match: text, !text, ~regex", screen, footer=10),
        Action("sort", ("s",), "s", "sort", "Order members by the next column", screen, footer=20),
        Action("reverse", ("S",), "S", "reverse", "Turn the order round", screen),
        Action("problems", _EXCLAMATION, "!", "problems", "Show only members in trouble, or all", screen, footer=30),
        Action("zoom(-1)", ("z",), "z", "zoom in", "Histories over a shorter time", screen, footer=zoom_footer),
        Action("zoom(1)", ("Z",), "Z", "zoom out", "Histories over a longer time", screen, footer=zoom_out_footer),
    )


ACTIONS: tuple[Action, ...] = (
    # Screens have the numbers of the whole console; a number without a screen is not bound.
    Action(
        "screen('dashboard')", ("2", "f2"), "2", "Dashboard", "Health, load, findings and events of the cluster", "app"
    ),
    Action("screen('members')", ("3", "f3"), "3", "Members", "Every member in detail", "app"),
    Action("screen('keys')", ("4", "f4"), "4", "Keys", "Browse, read and edit keys", "app"),
    Action("screen('logs')", ("7", "f7"), "7", "Logs", "The members' logs as one, and what they say is wrong", "app"),
    Action("screen('runs')", ("8", "f8"), "8", "Runs", "Procedures at work, cut off and past", "app"),
    Action("last_screen", ("minus",), "-", "last screen", "Back to the screen before this one", "app"),
    Action(
        "palette", ("ctrl+p",), "^P", "palette", "Find and run any command by name", "app", footer=80, palette=False
    ),
    Action("help", (*_QUESTION, "f1"), "?", "help", "All keys of this screen", "app", footer=90),
    Action("pause", ("P",), "P", "pause", "Hold the screens still; looking at the cluster goes on", "app", footer=60),
    Action(
        "theme", ("T",), "T", "theme", "Next theme: colour-blind-safe dark and light, then Textual's", "app", footer=70
    ),
    Action("read_only", ("R",), "R", "read-only", "Refuse changes, or allow them again", "app", footer=65),
    Action("refresh", ("ctrl+r", "f5"), "^R", "look now", "Look at the cluster now instead of at the next poll", "app"),
    Action("redraw", ("ctrl+l",), "^L", "redraw", "Draw the whole terminal again", "app"),
    Action("app.focus_next", ("tab",), "Tab", "next pane", "To the next pane", "app", palette=False),
    Action("app.focus_previous", ("shift+tab",), "S-Tab", "pane before", "To the pane before", "app", palette=False),
    Action("quit", ("q", "ctrl+q"), "q", "quit", "Leave the console", "app"),
    Action(
        "interrupt",
        ("ctrl+c",),
        "^C",
        "interrupt",
        "Once: cancel what is being read. Twice: leave",
        "app",
        palette=False,
    ),
    # Lists
    Action("cursor(-1)", ("up", "k"), "↑", "up", "One row up", "list", palette=False),
    Action("cursor(1)", ("down", "j"), "↓", "down", "One row down", "list", palette=False),
    Action("page(-1)", ("pageup", "ctrl+b"), "PgUp", "page up", "One page up", "list", palette=False),
    Action("page(1)", ("pagedown", "ctrl+f"), "PgDn", "page down", "One page down", "list", palette=False),
    Action("edge(-1)", ("home",), "Home", "first", "To the first row", "list", palette=False),
    Action("edge(1)", ("end", "G"), "End", "last", "To the last row that is known", "list", palette=False),
    Action("open", ("enter",), "Enter", "open", "Open what the cursor is on", "list", palette=False),
    # Dashboard
    *_of_members_table("dashboard", zoom_footer=40),
    Action("maximize", ("M",), "M", "maximize", "The focused pane alone, or all again", "dashboard", footer=50),
    Action("copy", ("y",), "y", "copy", "Copy the row under the cursor to the clipboard", "dashboard"),
    Action(
        "back", ("escape",), "Esc", "back", "Drop the filter, or leave the maximized pane", "dashboard", palette=False
    ),
    # Members
    Action("tab(-1)", ("left", "h", *_LEFT_BRACKET), "←", "tab", "The tab to the left", "members", footer=41),
    Action("tab(1)", ("right", "l", *_RIGHT_BRACKET), "→", "tab", "The tab to the right", "members", footer=42),
    *_of_members_table("members"),
    Action("copy", ("y",), "y", "copy", "Copy the member's ID and URLs to the clipboard", "members"),
    Action(
        "back", ("escape",), "Esc", "back", "Drop the filter, or go back to the last screen", "members", palette=False
    ),
    # Keys
    Action(
        "prefix",
        _SLASH,
        "/",
        "prefix",
        "List only keys that begin with a prefix; the server does the work",
        "keys",
        footer=10,
    ),
    Action("jump", ("g",), "g", "jump", "List from a key on", "keys", footer=15),
    Action("tree", ("t",), "t", "tree", "A tree by separator, or the flat list", "keys", footer=20),
    Action("separator", (".",), ".", "separator", "Fold the tree at the next separator: / : . - _", "keys"),
    Action("unfold", ("right", "l"), "→", "unfold", "Open the branch under the cursor", "keys", palette=False),
    Action("fold", ("left", "h"), "←", "fold", "Close the branch, or go up to the one above", "keys", palette=False),
    Action("format", ("x",), "x", "format", "Show the value as text, JSON, hex, or what fits", "keys", footer=35),
    Action(
        "history",
        ("H",),
        "H",
        "history",
        "Versions of the key, back to its creation or the compaction",
        "keys",
        footer=25,
    ),
    Action("reload", ("r",), "r", "reload", "Read the list again at the newest revision", "keys", footer=40),
    Action("new", ("n",), "n", "new", "Write a new key", "keys", writes=True, footer=29),
    Action(
        "edit",
        ("e",),
        "e",
        "edit",
        "Edit the value; written only if nobody else changed it",
        "keys",
        writes=True,
        footer=28,
    ),
    Action(
        "delete", ("D",), "D", "delete", "Delete the key, if nobody else changed it", "keys", writes=True, footer=30
    ),
    Action("copy", ("y",), "y", "copy", "Copy the key to the clipboard", "keys"),
    Action("copy_value", ("Y",), "Y", "copy value", "Copy the value to the clipboard", "keys"),
    Action(
        "back", ("escape",), "Esc", "back", "Drop jump and prefix, or go back to the last screen", "keys", palette=False
    ),
    # Logs
    Action("filter", _SLASH, "/", "filter", "Show only lines that match: text, !text, ~regex", "logs", footer=10),
    Action(
        "problems",
        _EXCLAMATION,
        "!",
        "problems",
        "Only warnings and worse, and lines of known causes",
        "logs",
        footer=12,
    ),
    Action("level", ("v",), "v", "level", "Only lines from the next level on", "logs", footer=20),
    Action("member", ("m",), "m", "member", "Only the next member's lines, or all again", "logs", footer=15),
    Action(
        "context",
        ("C",),
        "C",
        "context",
        "Lines around each match: none, 3, 10, or all lines with matches marked",
        "logs",
        footer=30,
    ),
    Action(
        "match(1)", ("n",), "n", "next match", "The next line that matches, or is of a known cause", "logs", footer=40
    ),
    Action("match(-1)", ("N",), "N", "match before", "The line before that matches, or is of a known cause", "logs"),
    Action("time", ("t",), "t", "time", "Go to a time: 14:05, 11-21 14:05, 5m ago", "logs", footer=25),
    Action("follow", ("f",), "f", "follow", "Stay at the end as lines come, or hold", "logs", footer=18),
    Action(
        "evidence",
        ("e",),
        "e",
        "evidence",
        "To the next line that proves the finding under its cursor",
        "logs",
        footer=35,
    ),
    Action("maximize", ("M",), "M", "maximize", "The focused pane alone, or both again", "logs", footer=50),
    Action("copy", ("y",), "y", "copy", "Copy the line under the cursor to the clipboard", "logs"),
    Action("back", ("escape",), "Esc", "back", "Drop filters, or go back to the last screen", "logs", palette=False),
    # Runs
    Action("stop", ("x",), "x", "stop safely", "Stop the run after the step it is at", "runs", writes=True, footer=10),
    Action(
        "resume", ("u",), "u", "resume", "Go on with the run, in a process of its own", "runs", writes=True, footer=20
    ),
    Action("detach", ("d",), "d", "detach", "Leave the run to its own process", "runs", footer=30),
    Action("copy", ("y",), "y", "copy", "Copy the run's ID to the clipboard", "runs"),
    Action("back", ("escape",), "Esc", "back", "To the list, or back to the last screen", "runs", palette=False),
    # Dialogs
    Action("cancel", ("escape",), "Esc", "cancel", "Leave without doing anything", "dialog", palette=False),
    Action("cancel", ("q", *_QUESTION), "q", "close", "Close what is read", "reading", palette=False),
    Action("submit", ("enter",), "Enter", "go on", "Take what was typed", "prompt", palette=False),
    Action("submit", ("ctrl+s",), "^S", "save", "Go on to the confirmation", "editor", palette=False),
)
"""Keys differ within a screen's reach: its own, "list", "app". Dialogs have only their own."""


def bindings(*scopes: str) -> list[BindingType]:
    """Textual's bindings of some scopes."""
    return [
        Binding(",".join(_textual_key(key) for key in action.keys), action.name, action.help, show=False)
        for action in ACTIONS
        if action.scope in scopes
    ]


def footer_actions(screen: str, *, read_only: bool) -> list[Action]:
    """What the footer offers on a screen, most important first in reading order."""
    reach = [action for action in ACTIONS if action.scope in (screen, "app") and action.footer]
    return sorted((a for a in reach if not (read_only and a.writes)), key=lambda action: action.footer)


def palette_actions(screen: str, *, read_only: bool) -> list[Action]:
    """What the palette offers on a screen: its own commands before the console's."""
    own = [action for action in ACTIONS if action.scope == screen]
    return [a for a in (*own, *_of("app")) if a.palette and not (read_only and a.writes)]


def help_sections(screen: str, *, read_only: bool) -> list[tuple[str, list[Action]]]:
    """All keys that work on a screen, grouped as the help shows them."""
    own = [action for action in _of(screen) if not (read_only and action.writes)]
    return [(screen.capitalize(), own), ("Lists", _of("list")), ("Everywhere", _of("app"))]


def screen_actions() -> list[tuple[str, Action]]:
    """The screens there are, in the order of their numbers: name and action."""
    return [(a.name.split("'")[1], a) for a in ACTIONS if a.name.startswith("screen(")]


def _of(scope: str) -> list[Action]:
    return [action for action in ACTIONS if action.scope == scope]


def _textual_key(key: str) -> str:
    return "full_stop" if key == "." else key
