"""Choices of your own: a table of choices is read, and written as a data set."""
