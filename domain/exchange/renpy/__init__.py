"""A story as a Ren'Py 8 game: pure text from pure content, the same bytes for the same story."""
