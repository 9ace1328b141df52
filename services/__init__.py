"""What keeps running: dispatcher, projector, processes, wiring."""
