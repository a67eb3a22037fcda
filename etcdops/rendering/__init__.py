"""Everything that is written onto hosts: a member's configuration, fitted to its version, in every format.

flags     which flags each version takes, and what another version calls them
member    inventory -> MemberConfig: one member's whole configuration, before any format
escaping  one filter a file format: values that cannot be expressed are an error, never an escape
render    templates/ -> text, and text -> files of a host
"""
