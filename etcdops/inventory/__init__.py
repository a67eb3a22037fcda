"""Which clusters and hosts exist: what the operator wrote down, read whole, with every fault named by file and line.

source   YAML with positions
secrets  where a secret comes from; never the secret
model    hosts, clusters, members: pydantic models
protection  how much it takes to change a cluster
load     files -> Inventory, or all of their faults
targets  a host of the inventory -> how to get in
find     where the inventory is when nobody says
filled   an inventory with nothing left to defaults, to be shown or written
reach    whether its hosts can be worked with
"""
