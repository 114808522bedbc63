"""A fleet of pretend DDI devices in one process, with the habits of real ones."""
