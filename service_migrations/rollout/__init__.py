"""Upgrades of many services: the choice of services, their order, and the worker processes."""
