"""Families that lock a network to a customer's number."""
