"""Changing a cluster while it serves: one member at a time, and only while all the others are well.

versions   which change of version is allowed, and what has to be true before
health     what of a look at the cluster is in the way
fleet      what a rolling change does to members: the port
host_fleet the same on hosts of an inventory; member_ports: what their ports show
steps      the kinds of steps; planning: a plan of them
procedure  how a run is begun and gone on with
"""
