"""Two worldlines of one story brought together by what their documents mean."""
