"""Model files: downloaded, judged by what is in them, and shown with what the catalogue says."""
