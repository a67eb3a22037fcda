"""One file per screen: which panels, where, and what the user chose to see in them."""
