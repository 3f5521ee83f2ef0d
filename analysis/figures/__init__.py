"""draw(frame, axes): draws what it is given and computes nothing."""
