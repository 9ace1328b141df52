"""HTTP: commands, views, streams, uploads and problems."""
