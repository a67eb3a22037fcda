"""What hosts and the members on them are like, asked in one read-only script each.

host       a host: system, disks, clock, ports, names, data directories and whose they are
script     what is asked, as shell
"""
