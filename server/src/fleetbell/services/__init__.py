"""One use case per function or small class, with the ports it needs as arguments."""
