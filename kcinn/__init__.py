"""Posteriors of stellar labels for every spectrum of a survey."""
