"""Content credentials by c2pa-python where it is installed, and as signed sidecars where not or where it cannot."""
