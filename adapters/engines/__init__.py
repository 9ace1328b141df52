"""Engines: one file or folder for each that makes pictures, videos or voices."""
