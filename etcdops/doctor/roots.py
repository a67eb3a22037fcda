"""Which live finding accounts for which, so that a host that is off is one finding and not a wall.

Edges go from a cause to what it makes appear: at the same place (a member, or the host it lives on), or anywhere. They
are data; tests/doctor/test_examine.py shows that the graph has no cycle.
"""

from __future__ import annotations

from collections.abc import Mapping

AWAY = ("E201", "W202", "W204", "E601", "E602", "E603", "E604", "E606", "E607", "E608", "E315", "W304", "W301")
"""How a member that is down or cut off looks from outside."""
DOWN = ("E502", "E504", "E505", "W506", *AWAY)
"""... and how its service looks on its host."""
SLOW = ("W304", "W301", "W306", "W307", "W308", "W309", "W310", "W204")

SAME_PLACE: Mapping[str, tuple[str, ...]] = {
    "E501": AWAY,
    "E502": ("W506", *AWAY),
    "E503": AWAY,
    "E504": AWAY,
    "E505": ("E502", "W506", *AWAY),
    "E511": ("W515", *DOWN, *SLOW),
    "E513": DOWN,
    "E514": ("E511", "E513", "W515", *DOWN),
    "E517": ("E511", "E514", "W515", "W305", *DOWN, *SLOW),
    "E519": ("W520", *DOWN),
    "E401": ("W405", "W406", "E410", "E411", "E412", "W413", "E404", *DOWN),
    "E402": ("E404", "E407", "W405", "W406", "W413", *DOWN),
    "E403": ("W405", "W406", "W421", "E412", *DOWN),
    "E404": ("W405", "W406", *DOWN),
    "E407": DOWN,
    "E408": ("E410", "E411", "E412", "W413", *DOWN),
    "E410": ("W203", *DOWN),
    "E411": ("W203", *DOWN),
    "E412": ("W203", *DOWN),
    "E414": ("W417",),
    "E415": ("W203", *AWAY),
    "W415": ("E201", "W202"),
    "E424": AWAY,
    "E209": ("E201", "W202", "W203", "E601", "E602"),
    "E210": ("E201", "W202", "W203", "E601", "E602"),
    "E609": ("E203", *AWAY),
    "E611": ("E203", *AWAY),
    "E613": ("E203", *AWAY),
    "E614": ("E203", *AWAY),
    "E615": ("E203", *AWAY),
    "E616": ("E502", "W506", "E203", *AWAY),
    "E601": ("E201", "W202", "E315"),
    "E602": ("E201", "W202", "E315"),
    "E603": ("E201", "W202"),
    "E604": ("E201", "W202"),
    "E605": ("E201", "W202"),
    "E606": ("E201", "W202"),
    "E607": ("E201", "W202"),
    "E608": ("E201", "W202"),
    "E106": ("E203",),
    "E107": ("E203",),
    "W515": ("W305", *SLOW),
    "W305": SLOW,
    "W306": ("W307", "W309", "W304"),
    "W521": ("E611",),
}
"""cause -> what it accounts for at its own member or host."""

ANYWHERE: Mapping[str, tuple[str, ...]] = {
    "E101": ("E315",),
    "E102": ("E103", "E315", "W308", "W309"),
    "E103": ("E315",),
    "E106": ("E315",),
    "E107": ("E315", "E117", "W115"),
    "E401": ("E105",),
    "E402": ("E105", "W405", "W406"),
    "E517": ("W109",),
    "W515": ("W109",),
    "W305": ("W109",),
    "W314": ("W109",),
}
"""cause -> what it accounts for wherever it shows."""
