"""What the doctor looks at, fetched: from the cluster's API, from its hosts, from their logs. Reads only.

logs        a member's log as lines, a while back and as it grows; all members at once
log_files   the same as files on this machine, bounded, for the diagnosis
"""
