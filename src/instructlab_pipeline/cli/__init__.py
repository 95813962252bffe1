"""Parse, resolve, call, print: the only place that prints or exits."""
