"""Workloads and the launching of tuning campaigns."""
