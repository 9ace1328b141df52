"""Views across contexts."""
