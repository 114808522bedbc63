"""The door for applications: the API of the older platform, over HTTPS."""
