"""Playtests as they run: in a process of their own, with progress, and as pages and files."""
