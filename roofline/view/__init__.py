"""What an answer looks like: tables, notes and JSON."""
