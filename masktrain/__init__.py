"""masktrain: learn from bare faces alone to tell faces with a mask from faces without.

Importing the package is free: torch and its friends are imported by the modules that need them.
"""

__version__ = "1.0.0"
