"""The store on SQLite: one writer thread with group commit, readers on the event loop."""
