"""Bring a cluster back from a snapshot after its quorum is gone for good.

facts      what can be found out: who answers, which processes run, how far each member had come
planning   facts + snapshot -> Plan: pure
steps      Plan -> steps, each checked, repeatable and verified
verifying  what the recovered cluster must prove
procedure  all of it in order: refuse, plan, confirm, run
"""
