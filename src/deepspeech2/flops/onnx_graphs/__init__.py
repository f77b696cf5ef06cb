"""Counting ONNX files: reads the graph without its weights, follows shapes node by node, and counts each node.

`reading` opens files, `values` says what is known of a tensor, `inference` finds shapes and folds constants, `walking`
goes through graphs and functions, `control_flow` through If, Loop and Scan, `operators` holds the formulas.
"""
