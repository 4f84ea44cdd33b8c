"""Speed, measured against a named peer in one run. Not part of the package and never a test."""
