"""What every device file must obey."""
