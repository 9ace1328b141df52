"""Stories: what authors write, fork and play."""
