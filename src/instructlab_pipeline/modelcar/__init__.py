"""A published image as a base model: joins what the rooms of the model and of publishing know."""
