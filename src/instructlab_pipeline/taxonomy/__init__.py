"""The taxonomy: one commit of a git repository, its leaves validated, their documents fetched and cut into chunks."""
