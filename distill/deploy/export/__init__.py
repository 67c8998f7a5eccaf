"""The student in the file formats of other engines."""
