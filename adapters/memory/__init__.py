"""Memory: every port as real code without a server, for tests and dry thinking."""
