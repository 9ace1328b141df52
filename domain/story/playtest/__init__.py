"""Playing every path of a story, and counting what was met."""
