"""Durable jobs: asked for in a transaction of the gateway's, run by a worker in a process of its own."""
