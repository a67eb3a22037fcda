"""An archive for whoever helps: logs, status, metrics, settings, findings, versions; without secrets.

redact     what is taken out of every line that goes into an archive
names      addresses and names in place of which others stand, the same everywhere
contents   what goes in, as documents
archive    the file, whole or not at all, with its manifest
"""
