"""Files of weights: read other people's files, and write tensors as the same bytes every time."""
