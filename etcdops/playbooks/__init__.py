"""Procedures on clusters: a plan as data, an engine that journals and resumes it, and arithmetic that may refuse it."""
