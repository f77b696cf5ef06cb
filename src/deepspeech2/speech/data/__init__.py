"""Everything between files of speech and the batches a network is trained on."""
