"""Wire messages: our own .proto with etcd's packages, names and numbers; `make proto` regenerates the *_pb2 files."""
