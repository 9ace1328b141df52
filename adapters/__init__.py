"""Plugs outward: the log, read-model stores, blobs, engines."""
