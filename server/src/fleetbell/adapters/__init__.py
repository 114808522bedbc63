"""What the ports ask for, each made with one technology."""
