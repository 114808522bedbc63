"""Everything in memory, gone with the process: for tests, and as the plainest reading of the port."""
