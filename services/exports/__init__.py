"""Exports made real: what they need is gathered, the gate decides, files are placed all at once or not at all."""
