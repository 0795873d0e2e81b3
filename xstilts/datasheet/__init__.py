"""What a reviewer asks of the data before reading a score: balance, duplicates, leaks, lengths, pieces. No torch."""
