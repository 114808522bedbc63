"""The doors for devices, one folder per protocol."""
