"""Plain Python for every app, without any framework."""
