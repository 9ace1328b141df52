"""Doors inward: HTTP, streams, console."""
