"""The parameters: one table of them, the kinds of values they take, and the layers that values come from."""
