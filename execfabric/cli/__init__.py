"""The `execfabric` command: a client of `/api/v1`, without Django."""
