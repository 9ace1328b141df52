"""Real servers for the tests, started once per run from the wheels."""

pytest_plugins = ["fixtures_nats", "fixtures_postgres", "fixtures_studio"]
