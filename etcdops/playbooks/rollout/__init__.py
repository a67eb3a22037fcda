"""From bare hosts to a cluster, and back to what the inventory says: DESIGN.md tells how.

refusals   what must be mended first, pure
desired    what a member should be, as files
"""
