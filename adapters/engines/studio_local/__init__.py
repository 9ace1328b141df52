"""The built-in engine: pictures and videos made better, joined and stood in for, with nothing installed besides."""
