"""LivePortrait: somebody's own installation on this machine, found by its folder and never installed by us."""
