"""How good the index advice is: statements with answers that were verified on a real server, and a strict score.

``python -m bench.advice`` scores; ``--verify`` checks the answers themselves, by making each index and measuring.
"""
