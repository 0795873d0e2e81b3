"""The Hugging Face hub: what a repository holds, which of its files are needed, and how they are downloaded."""
