"""What a study will cost: estimated from measured rates before it starts."""
