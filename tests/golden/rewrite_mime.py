#!/usr/bin/env python3
"""Writes the summaries of the mime fixtures anew. Read the diff before you commit it."""
import mime_lib

for fixture in mime_lib.fixtures():
    text = mime_lib.summary(fixture)
    with open(fixture[:-4] + ".txt", "w", encoding="ascii") as out:
        out.write(text)
