"""Run things on hosts: a `Command` through a `Session`, the same over SSH and on this machine."""
