"""What may be asked, and what follows from asking."""
