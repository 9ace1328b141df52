"""SQL: read models and their checkpoints, on SQLite and PostgreSQL."""
