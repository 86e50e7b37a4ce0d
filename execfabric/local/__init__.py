"""The embedded default: real Postgres and Valkey, and the supervisor behind `up`."""
