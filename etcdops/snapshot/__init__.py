"""What is on disk: etcd's database file and the node's, read, checked, written and restored without any server."""
