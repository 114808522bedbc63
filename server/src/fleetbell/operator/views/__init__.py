"""What this door takes and shows, a file for each concept: one description for both of its ends."""
