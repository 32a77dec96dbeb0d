"""What a training step is made of: its ops with what each computes, moves, sends and keeps."""
