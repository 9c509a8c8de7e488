"""What clients saw, written down as it happened, and judged: could one thread at a time have given these answers?"""
