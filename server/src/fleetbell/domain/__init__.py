"""What an upgrade is: values and rules, without I/O, clock or chance."""
