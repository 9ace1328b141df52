"""The studio's own presets: one JSON document each, judged by the schema of every preset."""
