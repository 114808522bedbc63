"""The HTTP device door: hawkBit DDI v1, as SWUpdate, rauc-hawkbit-updater and others speak it."""
