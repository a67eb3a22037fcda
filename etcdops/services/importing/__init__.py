"""From what is there to an inventory: members' files, hosts, a running cluster.

evidence    what was found out about one member, wherever it was read
container   a member in a container, as its host sees it: published ports, volumes
commands    docker run, podman run and nerdctl run, in scripts and units
pods        docker inspect, compose files and static pods, read from their text
files       texts -> evidence, whatever they are
hosts       a host -> evidence of every member on it
live        a running cluster -> its members, as they say themselves
clusters    which evidence is of the same cluster, and who its members are
access      how clients of a cluster with TLS get in
draft       a cluster -> its part of the inventory, with a note for everything that is a guess
made        all of it -> YAML that passes its own check
"""
