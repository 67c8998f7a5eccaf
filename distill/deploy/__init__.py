"""The student in other engines."""
