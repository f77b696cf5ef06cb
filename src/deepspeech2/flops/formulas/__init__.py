"""Pure functions from sizes to operation counts, one per operator.

They use only + * // (and minima of sizes in convolutions), so that integers give integers and symbols give formulas.
Every docstring names the algorithm it counts; the tests run that algorithm on counting scalars.
"""
