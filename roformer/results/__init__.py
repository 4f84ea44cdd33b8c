"""Measured numbers as frozen dataclasses, and their JSON: what evaluation hands to the report. Imports no torch."""
