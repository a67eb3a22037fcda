"""From what a cluster wrote to what is wrong with it: logs in, findings with proof and remedy out.

Pure: nothing here opens a connection or runs a command. `reading` opens files; everything behind it turns lines into
values. Start at `diagnose.diagnose`; DESIGN.md tells how the parts work together.
"""
