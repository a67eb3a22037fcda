"""One registry of actions: no key means two things, every key is explained, input methods are thought of."""

from __future__ import annotations

import itertools

import pytest

from etcdops.tui.actions import ACTIONS, bindings, footer_actions, help_sections, palette_actions, screen_actions
from etcdops.tui.app import SCREENS, ConsoleApp
from etcdops.tui.screens.dialogs import Confirm, Dialog, Editor, Palette, Prompt, Reading
from etcdops.tui.widgets.lists import ListPanel

OWNERS: dict[str, tuple[type, ...]] = {
    "app": (ConsoleApp,),
    "list": (ListPanel,),
    "dialog": (Dialog,),
    "reading": (Reading,),
    "prompt": (Prompt, Palette, Confirm),
    "editor": (Editor,),
    **{name: (screen,) for name, screen in SCREENS.items()},
}


@pytest.mark.parametrize("screen", sorted(SCREENS))
def test_no_key_means_two_things_on_one_screen(screen: str) -> None:
    """What the list takes, the screen does not get."""
    reach = [action for action in ACTIONS if action.scope in (screen, "app", "list")]
    for one, other in itertools.combinations(reach, 2):
        assert not set(one.keys) & set(other.keys), f"{one.name} and {other.name}"


def test_every_action_is_explained_and_exists() -> None:
    for action in ACTIONS:
        assert action.help.endswith(tuple("abcdefghijklmnopqrstuvwxyz_")), action
        assert action.help[0].isupper(), action
        assert len(action.title) <= 14, action
        name = action.name.removeprefix("app.").partition("(")[0]
        for owner in OWNERS[action.scope]:
            assert hasattr(owner, f"action_{name}"), f"{owner.__name__} has no action_{name}"


def test_each_screen_with_an_action_exists_and_the_other_way_round() -> None:
    """No dead keys: a screen is offered when it is there."""
    assert [name for name, _ in screen_actions()] == list(SCREENS)


def test_keys_that_chinese_input_methods_change_have_their_full_width_twins() -> None:
    """In such a method / ? ! arrive as other characters (Textual names them by Unicode)."""
    keys = {key for action in ACTIONS for key in action.keys}
    for plain, wide in (
        ("slash", "ideographic_comma"),
        ("question_mark", "fullwidth_question_mark"),
        ("exclamation_mark", "fullwidth_exclamation_mark"),
        ("left_square_bracket", "left_black_lenticular_bracket"),
    ):
        assert {plain, wide} <= keys


def test_read_only_mode_offers_no_action_that_writes() -> None:
    for screen in SCREENS:
        offered = [*footer_actions(screen, read_only=True), *palette_actions(screen, read_only=True)]
        offered += [action for _, section in help_sections(screen, read_only=True) for action in section]
        assert not [action for action in offered if action.writes]
    assert [action.title for action in palette_actions("keys", read_only=False) if action.writes] == [
        "new",
        "edit",
        "delete",
    ]


def test_no_destructive_action_is_on_a_key_of_muscle_memory() -> None:
    """k9s issue 21: machines were deleted while mistyped characters were being deleted in a filter."""
    for action in ACTIONS:
        if action.writes:
            assert not {"delete", "backspace", "ctrl+d", "ctrl+k", "ctrl+w"} & set(action.keys)


def test_bindings_carry_every_key() -> None:
    keys = {key for binding in bindings("keys") for key in getattr(binding, "key", "").split(",")}
    assert {"slash", "g", "t", "D", "ideographic_comma", "full_stop"} <= keys
