"""Processes: an event in, commands out."""
