"""Bringing one worldline's changes into another, checked and as one batch."""
