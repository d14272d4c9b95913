"""``efgmd doctor``: looks whether an installation works, and says what to mend.

Everything that can break is tried in a process of its own with a time limit. This package itself imports the standard
library only, so that it runs where hardly anything else does.
"""
