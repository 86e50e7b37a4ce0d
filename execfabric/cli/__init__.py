"""The `execfabric` command: a client of `/api/v1` that needs no Django."""
