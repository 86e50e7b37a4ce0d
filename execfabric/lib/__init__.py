"""Plain Python shared by every app: no framework is imported here."""
