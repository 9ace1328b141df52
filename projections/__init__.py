"""What people see: views folded from events."""
