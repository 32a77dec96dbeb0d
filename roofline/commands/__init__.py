"""The commands of the command line, one module each; `roofline.cli` imports only the one that runs."""
