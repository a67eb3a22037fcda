"""How a member is run on a host: one protocol, one file a manager.

port          what every manager does
managers      which one the inventory names
systemd, container (docker, podman), supervise (daemontools, runit), supervisord, process
discover      which members a host has, whoever keeps them

host_files    what an install writes, remembers and takes back
waiting, failures   until it runs, or why it does not
etcd_settings       what etcd makes of flags, variables and config file
unit_file, unit_start, start_script, container_arguments, supervisord_file   what says how it is started
member_process      what the running process really has
host_certificates   certificates of members, where they are
written_config, importing   what is there -> an inventory
"""
