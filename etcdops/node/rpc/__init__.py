"""gRPC over HTTP/2, and HTTP/1.1, on one client port. See DESIGN notes in `server_connection.py` and `listener.py`."""
