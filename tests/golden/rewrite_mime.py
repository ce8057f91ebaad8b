#!/usr/bin/env python3
"""Writes the summaries of the mime fixtures anew. Read the diff before you commit it."""
import mime_lib

for fixture in mime_lib.fixtures():
    with open(fixture[:-4] + ".txt", "w", encoding="ascii") as out:
        out.write(mime_lib.summary(fixture))
