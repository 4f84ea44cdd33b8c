"""Code hidden in a file that looks like data."""

import os


class Planted:
    """Makes a file, when it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return os.mkdir, (self.file,)
