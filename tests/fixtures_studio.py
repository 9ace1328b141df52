"""Fixtures: to come."""
