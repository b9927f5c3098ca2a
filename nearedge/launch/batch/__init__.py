"""Batch jobs: what they ask for, how they are submitted, and the pilots that work the queue."""
