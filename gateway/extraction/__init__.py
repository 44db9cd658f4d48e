"""What all readers of content have in common: the piece, the finding, the budget, the lock, the needle, the look of noise.

Pure values and searches; every folder of readers stands on it and it knows none of them.
"""
