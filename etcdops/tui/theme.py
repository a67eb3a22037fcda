"""The console's own themes: blue, orange and vermilion instead of green and red, readable for colour-blind eyes.

Contrast on the background: OK 8.1, WARN 8.3, FAIL 4.8 on dark; 5.2, 4.6, 5.1 on light (WCAG wants 4.5 for text).
The palette is Okabe and Ito's. Members' names have hues of their own, away from those of WARN and
FAIL; their contrast is above 5.
"""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="etcdops-dark",
    primary="#56B4E9",
    secondary="#8AA4BF",
    accent="#CC9BD8",
    success="#56B4E9",
    warning="#E69F00",
    error="#F0763A",
    foreground="#D5DAE0",
    background="#11151A",
    surface="#171C23",
    panel="#222A34",
    boost="#2B3542",
    dark=True,
    variables={
        "member-1": "#7FB2E5",
        "member-2": "#CC9BD8",
        "member-3": "#5FC7A9",
        "member-4": "#D3C56B",
        "member-5": "#A9B4C2",
    },
)

LIGHT = Theme(
    name="etcdops-light",
    primary="#005C99",
    secondary="#4A6078",
    accent="#7A3E8E",
    success="#00629B",
    warning="#8A5A00",
    error="#B03A00",
    foreground="#1B2128",
    background="#FBFBF9",
    surface="#F3F3F0",
    panel="#E6E8EA",
    boost="#D6DCE2",
    dark=False,
    variables={
        "member-1": "#1F5FA8",
        "member-2": "#7A3E8E",
        "member-3": "#00705A",
        "member-4": "#6F5E00",
        "member-5": "#4A5560",
    },
)

OWN_THEMES = (DARK, LIGHT)
