"""Builds of the images of services: options, runner of steps, results."""
