"""The local installation: Postgres, Valkey, web, worker and keeper on one machine."""
