"""ComfyUI on this machine or another of the house: its HTTP routes, its socket and its graphs."""
