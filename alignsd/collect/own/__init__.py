"""Read a table of your own choices, and write the choices as a data set."""
