"""The studio: what is made, stored and explained."""
