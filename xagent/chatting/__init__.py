"""The chat in the terminal: what is typed, what is shown, and the words that are commands."""
