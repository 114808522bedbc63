"""The door for the operator: what the command line asks of a running platform."""
