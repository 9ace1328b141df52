"""Trust: what may be done, and who may do it."""
