"""TLS of ports and dials: files that are followed, and handshakes whose failures are told as etcd tells them."""
