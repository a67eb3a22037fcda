"""What is wrong with a cluster that can be asked: one observation in, findings with proof and next step out.

Pure but for `gather`, which looks at members and hosts. Start at `examine.examine`; DESIGN.md tells how the parts work
together.
"""
