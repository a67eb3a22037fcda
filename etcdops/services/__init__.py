"""How a member is run on a host: one protocol, one file a manager.

port   what every manager does
"""
