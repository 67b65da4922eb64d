"""From the database to tidy frames, tables, figures and reports."""
