"""The door for operators, and for the programs of applications: JSON under ``/api/v1``.

On the Unix socket in the data folder no token is needed, because whoever may open that folder is the
operator; over TCP every call shows one.
"""
