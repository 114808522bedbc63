"""Parts for tests: a clock that jumps, makers, pretend devices, and the contracts of the ports."""
