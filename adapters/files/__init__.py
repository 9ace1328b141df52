"""Files: content-addressed blobs and the small files that belong to one data folder."""
