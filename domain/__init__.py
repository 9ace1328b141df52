"""What can have happened, and what it adds up to."""
