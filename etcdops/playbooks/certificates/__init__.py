"""The certificates of a cluster: all of them at a glance, renewed and their authorities replaced while it serves.

listing    every certificate, in files and on the wire, and what is wrong with it
leaves     one certificate on a host: read, judged, issued anew
trust      which authorities a running member takes, proved at its ports
steps, planning, procedure   `cert-renew` and `cert-rotate-ca`
"""
