"""What the doctor looks at, fetched: from members, hosts and logs. Changes nothing; DESIGN.md tells how."""
