"""Pure view models: values in, lines of text out. Nothing here imports Textual, waits, or reads a clock."""
