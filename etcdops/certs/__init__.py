"""Certificates of a cluster: authorities of our own, what they issue, and what any certificate says.

facts      a certificate as plain values, and what is wrong with it for a use
authority  a certificate authority in a folder: issues, and changes its own key without a moment of distrust
wire       what a member's port shows, and whether it takes what is shown to it
"""
