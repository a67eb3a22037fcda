"""Recover a cluster on the hosts of an inventory, of either engine, whoever keeps its members running.

facts      what is left on each host: data, service, tool, room
planning   facts + snapshot -> Plan: pure
trees      a directory of a member: worked beside, moved aside, put in place, taken back
member     one member on its host, for the steps
steps      Plan -> steps, each checked, repeatable, and taken back where that can be
procedure  all of it in order

Whatever can fail for lack of room, of a tool, of a right happens before anything is stopped.
"""
