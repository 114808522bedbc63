"""``fleetbell demo``: a platform, an application and a fleet, each a process of its own, from end to end."""
