"""What files of each kind tell besides their content, and how it is taken out without decoding anything.

A function for a kind takes the whole file; it raises ``ValueError``, ``LookupError`` or ``struct.error`` for bytes that
are no such file, or one that is cut off.
"""
