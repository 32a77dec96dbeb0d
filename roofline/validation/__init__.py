"""Our errors against published measurements."""
