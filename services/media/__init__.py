"""What files are, and the small pictures that are made of them."""
