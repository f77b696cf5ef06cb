"""CTC decoding: greedy and prefix beam search with language models. Imports no torch."""
