"""Speed, measured beside a named peer in one run. Not part of the package and never a test."""
