"""Everything that is written onto hosts: a member's configuration, fitted to its version, in every format.

flags          which flags each version takes, and what another version calls them
member         inventory -> MemberConfig: one member's whole configuration, before any format
config_file    flags -> the typed lines of etcd's --config-file
escaping       one filter a file format: values that cannot be expressed are an error, never an escape
render         templates/ -> text; a template prints nothing without a filter
outputs        MemberConfig and manager -> the files that make it run
network_files  load balancer, SRV records, firewall
upkeep_files   backups by timer or cron, prometheus
places         where the files of a service lie on a host
files          a file as it should be on a host, and how it differs from the one that is there
"""
