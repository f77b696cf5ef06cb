"""Speech: audio, features, the network, checkpoints, data, training, recognition."""
